/* Preloaded: reading and writing files whose path holds FAULT_PATH fails with the errno FAULT_ERRNO
   after FAULT_AFTER bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long done;

static int faulty(int fd, size_t count) {
    char link[64], path[4096];
    const char *wanted = getenv("FAULT_PATH"), *error = getenv("FAULT_ERRNO"),
               *after = getenv("FAULT_AFTER");
    if (!wanted || !error)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, wanted))
        return 0;
    done += count;
    if (done <= (after ? atol(after) : 0))
        return 0;
    errno = atoi(error);
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t count) {
    return faulty(fd, count) ? -1 : NEXT(write)(fd, data, count);
}
ssize_t read(int fd, void *data, size_t count) {
    return faulty(fd, count) ? -1 : NEXT(read)(fd, data, count);
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) {
    return faulty(fd, count) ? -1 : NEXT(pwrite)(fd, data, count, at);
}
ssize_t pread(int fd, void *data, size_t count, off_t at) {
    return faulty(fd, count) ? -1 : NEXT(pread)(fd, data, count, at);
}
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) {
    return faulty(fd, count) ? -1 : NEXT(pwrite64)(fd, data, count, at);
}
ssize_t pread64(int fd, void *data, size_t count, off64_t at) {
    return faulty(fd, count) ? -1 : NEXT(pread64)(fd, data, count, at);
}
