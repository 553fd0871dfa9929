// SPDX-License-Identifier: GPL-2.0
/*
 * imstest: runs tests, each in a process of its own, and prints KTAP
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "imstest.h"

int time_limit;

/* Where the process of a test leaves the reason of its failure */
static int reason_fd = -1;

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void fail(const char *fmt, ...)
{
	int fd = reason_fd >= 0 ? reason_fd : STDERR_FILENO;
	va_list args;

	va_start(args, fmt);
	vdprintf(fd, fmt, args);
	va_end(args);
	if (fd == STDERR_FILENO)
		dprintf(fd, "\n");
	_exit(EXIT_FAILURE);
}

void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
	fflush(stdout);
}

/* So that the kernel's log tells which test a message belongs to */
static void log_name(const char *name)
{
	char line[64];

	snprintf(line, sizeof(line), "imstest: %s\n", name);
	write_file(line, "/dev/kmsg");
}

static pid_t start_test(const struct test *test, int *fd)
{
	int fds[2];
	pid_t pid;

	if (pipe(fds))
		fail("pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	if (pid) {
		close(fds[1]);
		*fd = fds[0];
		return pid;
	}

	close(fds[0]);
	reason_fd = fds[1];
	test->run();
	fflush(stdout);
	_exit(EXIT_SUCCESS);
}

/* Read until the test's process ends or says too much. Return: false if neither. */
static bool read_reason(int fd, char *reason, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	double end = now() + time_limit;
	size_t used = strlen(reason);
	ssize_t len;

	while (poll(&pfd, 1, 1000) >= 0 || errno == EINTR) {
		if (pfd.revents) {
			len = read(fd, reason + used, size - 1 - used);
			if (len <= 0)
				return true;
			used += len;
			reason[used] = '\0';
			if (used == size - 1)
				return true;
			pfd.revents = 0;
		} else if (now() > end) {
			return false;
		}
	}
	return false;
}

static bool has_ended(pid_t pid, int *status)
{
	return WAIT(PATIENCE, waitpid(pid, status, WNOHANG) == pid);
}

static void kill_test(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	/* One that hangs in the kernel does not die */
	if (!has_ended(pid, &status))
		note("its process cannot be killed");
}

/* Return: whether the test has passed; @reason: why not */
static bool finish_test(pid_t pid, int fd, char *reason, size_t size)
{
	int status;

	reason[0] = '\0';
	if (!read_reason(fd, reason, size)) {
		snprintf(reason, size, "no end after %d seconds", time_limit);
		kill_test(pid);
		return false;
	}

	/* It has closed its end of the pipe, and may hang in the rest of its exit */
	if (!has_ended(pid, &status)) {
		snprintf(reason, size, "its process does not end");
		kill_test(pid);
		return false;
	}
	if (WIFSIGNALED(status))
		snprintf(reason, size, "died of signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) && !reason[0])
		snprintf(reason, size, "exit status %d", WEXITSTATUS(status));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static bool is_selected(const struct test *test, const char *only)
{
	return only ? !strcmp(only, test->name) : long_run || !test->long_only;
}

int run_tests(const struct test *tests, unsigned int nr, const char *only)
{
	unsigned int i, planned = 0, ran = 0, failed = 0;
	double start, begin = now();
	char reason[512];
	pid_t pid;
	bool ok;
	int fd;

	for (i = 0; i < nr; i++)
		planned += is_selected(&tests[i], only);
	printf("KTAP version 1\n1..%u\n", planned);
	for (i = 0; i < nr; i++) {
		if (!is_selected(&tests[i], only))
			continue;

		log_name(tests[i].name);
		start = now();
		pid = start_test(&tests[i], &fd);
		ok = finish_test(pid, fd, reason, sizeof(reason));
		close(fd);
		note("%s took %.2f s", tests[i].name, now() - start);
		printf("%sok %u %s%s%s\n", ok ? "" : "not ", ++ran, tests[i].name,
		       ok ? "" : " # ", ok ? "" : reason);
		fflush(stdout);
		failed += !ok;
	}

	note("%u tests, %u failed, %.1f s", ran, failed, now() - begin);
	return ran && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
