// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: the host of a guest to which a device is passed through
 *
 * It does what the tests in the guest ask for: the device irte-control has a line
 * to it. A request is a word with numbers, the answer a number with a text. Errors
 * are -errno.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "imstest.h"

#define LINE		"/tmp/line"
#define MONITOR		"/tmp/monitor"
#define MAX_IRQS	"/sys/module/vfio_pci_core/parameters/ims_max_irqs"
#define FAIL_IRQ	"/sys/kernel/debug/fail_irq"

/* The device that is passed through, one that is not, and those that are for nothing else */
#define PASSED_DEVICE	0
#define OTHER_DEVICE	2
#define MORE_DEVICES	3

#define PASSED_TO_PORT	"\"driver\":\"vfio-pci\",\"id\":\"passed\",\"bus\":\"rp\",\"x-ims\":\"on\",\"iommufd\":\"iommufd\""

/* For QEMU, which may have to map all memory of its guest, on a busy machine */
#define QEMU_PATIENCE	60

/* Seconds after which the kernel takes memory for lost */
#define LEAK_AGE	6

static struct resources remembered;
static char text[256];

/*
 * The hypervisor
 */
static bool is_qemu(const char *pid)
{
	char *comm = read_file("/proc/%s/comm", pid);
	bool is = comm && !strncmp(comm, "qemu-system", 11);

	free(comm);
	return is;
}

static pid_t find_qemu(void)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	pid_t pid = 0;

	CHECK(dir, "no /proc");
	while (!pid && (entry = readdir(dir))) {
		if (atoi(entry->d_name) && is_qemu(entry->d_name))
			pid = atoi(entry->d_name);
	}
	closedir(dir);
	return pid;
}

/* It can open no more files, or as many as ever */
static long limit_files(bool none)
{
	struct rlimit limit;
	pid_t pid = find_qemu();

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit))
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	if (none) {
		limit.rlim_cur = 0;
		while (exists("/proc/%d/fd/%lu", pid, (unsigned long)limit.rlim_cur))
			limit.rlim_cur++;
	}
	return prlimit(pid, RLIMIT_NOFILE, &limit, NULL) ? -errno : 0;
}

/* Call @fn for all threads. Return: the smallest result. */
static long for_threads(long (*fn)(pid_t pid, const char *tid, unsigned int arg), unsigned int arg)
{
	pid_t pid = find_qemu();
	struct dirent *entry;
	long ret, least = LONG_MAX;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (!atoi(entry->d_name))
			continue;
		ret = fn(pid, entry->d_name, arg);
		if (ret < least)
			least = ret;
	}
	closedir(dir);
	return least;
}

static long arm_thread(pid_t pid, const char *tid, unsigned int nth)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", nth);
	return write_file(number, "/proc/%d/task/%s/fail-nth", pid, tid);
}

static long left_in_thread(pid_t pid, const char *tid, unsigned int arg)
{
	char *number = read_file("/proc/%d/task/%s/fail-nth", pid, tid);
	long left = number ? atol(number) : 0;

	(void)arg;
	free(number);
	return left;
}

/* The @nth operation on interrupts fails, out of these @points */
static long fail_nth(unsigned int nth, unsigned int points)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", points);
	if (write_file("0", FAIL_IRQ "/verbose") || write_file("0", FAIL_IRQ "/probability") ||
	    write_file(number, FAIL_IRQ "/points"))
		return -ENOENT;
	return for_threads(arm_thread, nth);
}

/*
 * What is in use
 */
static long count_interrupts(const char *name)
{
	char *all = read_file("/proc/interrupts"), *next = all, *line;
	long nr = 0;

	while ((line = strsep(&next, "\n")))
		nr += !!strstr(line, name);
	free(all);
	return nr;
}

static long host_interrupts(void)
{
	return count_interrupts("vfio-ims[");
}

static long compare(void)
{
	struct resources after;

	if (WAIT(PATIENCE, same_resources(&remembered, &after)))
		return 0;
	snprintf(text, sizeof(text),
		 "before: %u of %u IRTEs, %u interrupts, %u domains, %u vectors; after: %u of %u, %u, %u, %u",
		 remembered.irtes, remembered.entries, remembered.irqs, remembered.domains,
		 remembered.vectors,
		 after.irtes, after.entries, after.irqs, after.domains, after.vectors);
	return -EBUSY;
}

/* Memory, that has to be some seconds old */
static long check_lost(void)
{
	char *lost, *next, *line;

	usleep(LEAK_AGE * 1000000);
	lost = next = lost_memory();
	if (!lost[0])
		return 0;
	while ((line = strsep(&next, "\n")))
		printf("%s\n", line);
	snprintf(text, sizeof(text), "%s", lost);
	free(lost);
	return -ENOMEM;
}

static long kvm_exits(void)
{
	char *number = read_file("/sys/kernel/debug/kvm/mmio_exits");
	long exits = number ? atol(number) : -ENOENT;

	free(number);
	return exits;
}

/* A whole line that is an answer: there are events and a greeting as well */
static bool read_answer(int in, char *answer, size_t size, size_t *len)
{
	while (*len < size && read(in, answer + *len, 1) == 1) {
		if (answer[*len] != '\n') {
			(*len)++;
			continue;
		}
		answer[*len] = '\0';
		*len = 0;
		if (!strncmp(answer, "{\"return\"", 9) || !strncmp(answer, "{\"error\"", 8))
			return true;
	}
	return false;
}

static void get_answer(int in, char *answer, size_t size)
{
	size_t len = 0;

	CHECK(WAIT(QEMU_PATIENCE, read_answer(in, answer, size, &len)), "no answer of QEMU");
}

/* Tell QEMU, and have its answer in @answer */
static void monitor(char *answer, size_t size, const char *command)
{
	static int in = -1, out;

	if (in < 0) {
		out = open(MONITOR ".in", O_RDWR);
		in = open(MONITOR ".out", O_RDWR | O_NONBLOCK);
		CHECK(in >= 0 && out >= 0, "there is no monitor: %s", strerror(errno));
		dprintf(out, "{\"execute\":\"qmp_capabilities\"}\n");
		get_answer(in, answer, size);
	}
	dprintf(out, "%s\n", command);
	get_answer(in, answer, size);
}

/* Whether QEMU names our reason not to migrate */
static long migration_blocked(void)
{
	char answer[4096];

	monitor(answer, sizeof(answer), "{\"execute\":\"query-migrate\"}");
	return !!strstr(answer, "messages of this host");
}

/* All of KVM's routes are in use, or not any more */
static long fill_routes(bool fill)
{
	char command[256], answer[4096];

	snprintf(command, sizeof(command),
		 "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/passed\",\"property\":\"x-ims-fill-routes\",\"value\":%s}}",
		 fill ? "true" : "false");
	monitor(answer, sizeof(answer), command);
	snprintf(text, sizeof(text), "%s", strstr(answer, "error") ? : "");
	return text[0] ? -EIO : 0;
}

/*
 * The device is taken away from the guest, and handed over again
 */
static pid_t taking;

/* The kernel asks the hypervisor for it and waits until that has closed it */
static long take_away(const char *how)
{
	char bdf[16];

	device_address(PASSED_DEVICE, bdf, sizeof(bdf));
	taking = fork();
	if (taking < 0)
		return -errno;
	if (!taking && !strcmp(how, "remove"))
		_exit(-write_file("1", "/sys/bus/pci/devices/%s/remove", bdf));
	if (!taking)
		_exit(-write_file(bdf, "/sys/bus/pci/drivers/vfio-pci/unbind"));
	return 0;
}

static long taken_away(void)
{
	int status;

	if (!WAIT(QEMU_PATIENCE, waitpid(taking, &status, WNOHANG) == taking))
		return -ETIMEDOUT;
	return -WEXITSTATUS(status);
}

static bool is_still_taken(void)
{
	int status;

	return waitpid(taking, &status, WNOHANG) == 0;
}

static long hand_over(void)
{
	char command[256], answer[4096], bdf[16];

	write_file("1", "/sys/bus/pci/rescan");
	device_address(PASSED_DEVICE, bdf, sizeof(bdf));
	bind_to_vfio(PASSED_DEVICE);
	snprintf(command, sizeof(command),
		 "{\"execute\":\"device_add\",\"arguments\":{\"host\":\"%s\"," PASSED_TO_PORT "}}",
		 bdf);
	monitor(answer, sizeof(answer), command);
	snprintf(text, sizeof(text), "%s", strstr(answer, "error") ? : "");
	return text[0] ? -EIO : 0;
}

static long do_request(char *request)
{
	char *word = strtok(request, " "), *first = strtok(NULL, " "), *second = strtok(NULL, " ");
	unsigned long a = first ? strtoul(first, NULL, 0) : 0;
	unsigned long b = second ? strtoul(second, NULL, 0) : 0;

	if (!word)
		return -EINVAL;
	if (!strcmp(word, "remember")) {
		remembered = resources();
		return 0;
	}
	if (!strcmp(word, "compare"))
		return compare();
	if (!strcmp(word, "lost"))
		return check_lost();
	if (!strcmp(word, "interrupts"))
		return host_interrupts();
	if (!strcmp(word, "msix"))
		return count_interrupts("vfio-msix[");
	if (!strcmp(word, "limit"))
		return write_file(first, MAX_IRQS);
	if (!strcmp(word, "take-vectors"))
		return take_vectors(OTHER_DEVICE);
	if (!strcmp(word, "give-vectors")) {
		give_vectors();
		return 0;
	}
	if (!strcmp(word, "take-entries"))
		return take_entries(MORE_DEVICES, a);
	if (!strcmp(word, "give-entries"))
		return give_entries();
	if (!strcmp(word, "take-away") && first)
		return take_away(first);
	if (!strcmp(word, "still-taken"))
		return is_still_taken();
	if (!strcmp(word, "taken-away"))
		return taken_away();
	if (!strcmp(word, "hand-over"))
		return hand_over();
	if (!strcmp(word, "files"))
		return limit_files(a);
	if (!strcmp(word, "fail"))
		return fail_nth(a, b);
	if (!strcmp(word, "left"))
		return for_threads(left_in_thread, 0);
	if (!strcmp(word, "exits"))
		return kvm_exits();
	if (!strcmp(word, "blocked"))
		return migration_blocked();
	if (!strcmp(word, "routes"))
		return fill_routes(a);
	return -EINVAL;
}

/* The next line of the guest; false: there is none any more */
static bool get_request(int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len < size - 1 && read(fd, line + len, 1) == 1) {
		if (line[len] == '\n') {
			line[len] = '\0';
			return true;
		}
		len++;
	}
	return false;
}

static void open_line(int *in, int *out)
{
	/* For both, so that it does not matter when QEMU comes and goes */
	*in = open(LINE ".out", O_RDWR);
	*out = open(LINE ".in", O_RDWR);
	CHECK(*in >= 0 && *out >= 0, "there is no line: %s", strerror(errno));
}

int run_agent(void)
{
	char request[128];
	int in, out;
	long ret;

	open_line(&in, &out);
	while (get_request(in, request, sizeof(request))) {
		printf("%s: ", request);
		text[0] = '\0';
		ret = do_request(request);
		printf("%ld %s\n", ret, text);
		fflush(stdout);
		dprintf(out, "%ld %s\n", ret, text);
	}
	return EXIT_SUCCESS;
}

/*
 * The hypervisor is killed while its guest is at it
 */
static pid_t start_guest(void)
{
	pid_t pid = fork();

	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		execl("/host/run", "run", "qemu", NULL);
		_exit(EXIT_FAILURE);
	}
	return pid;
}

static void test_killed(void)
{
	static unsigned int seed = 1;
	struct resources before = resources();
	char request[128];
	int in, out, i;
	long irqs;
	pid_t pid;

	open_line(&in, &out);
	for (i = 0; i < (long_run ? 100 : 5); i++) {
		pid = start_guest();
		CHECK(get_request(in, request, sizeof(request)) && !strcmp(request, "storm"),
		      "no storm");
		usleep(rand_r(&seed) % 1000000);
		irqs = host_interrupts();
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		note("killed with %ld interrupts of the host in use", irqs);
		CHECK(irqs, "no interrupts of the host were in use");
		CHECK(WAIT(PATIENCE, !host_interrupts()), "%ld interrupts are left",
		      host_interrupts());
		check_resources(&before);
	}
	usleep(LEAK_AGE * 1000000);
	check_memory();
}

static const struct test killed_tests[] = {
	{ "killed",	test_killed },
};

int run_killed(const char *only)
{
	/* A guest boots for each of them */
	time_limit = long_run ? 36000 : 1200;
	return run_tests(killed_tests, ARRAY_SIZE(killed_tests), only);
}
