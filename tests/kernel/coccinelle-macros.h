// What spatch has to know of the kernel's macros to parse the functions that use them
#define scoped_guard(args...) if (1)
#define scoped_cond_guard(args...) if (1)
#define msi_for_each_desc(args...) while (1)
#define __free(x)
#define __cleanup(x)
