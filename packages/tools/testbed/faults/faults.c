/*
 * Faults for a daemon under test, preloaded into it: writes that fail with EIO, and a wall clock that jumps. Both are told by a file of
 * 16 octets named in LATCHKEY_FAULTS, which is mapped, so that a test may change it at any time:
 *
 *   octet 0        1: writes and syncs of regular files fail, but for those that end a commit of LMDB: they go to the first 8 KiB;
 *                  2: only those fail
 *   octets 8..15   what is added to the wall clock, in ms, as the machine's own 64-bit integer
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned char *faults;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("LATCHKEY_FAULTS");
  int file = path == NULL ? -1 : open(path, O_RDONLY);
  if (file < 0) return;
  void *mapped = mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) faults = mapped;
  close(file);
}

static int fails(int file) {
  struct stat info;
  if (faults == NULL || faults[0] != 1 || fstat(file, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) return 0;
  errno = EIO;
  return 1;
}

static int fails_at(int file, int64_t at) {
  if (at >= 8192) return fails(file);
  if (faults == NULL || faults[0] != 2) return 0;
  errno = EIO;
  return 1;
}

#define FAILING(type, name, parameters, arguments)                         \
  type name parameters {                                                   \
    static type(*real) parameters;                                         \
    if (real == NULL) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);  \
    return fails(file) ? -1 : real arguments;                              \
  }

FAILING(int, fsync, (int file), (file))
FAILING(int, fdatasync, (int file), (file))
FAILING(ssize_t, write, (int file, const void *octets, size_t count), (file, octets, count))
FAILING(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count))

#define FAILING_AT(name, parameters, arguments)                                 \
  ssize_t name parameters {                                                     \
    static ssize_t(*real) parameters;                                           \
    if (real == NULL) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);    \
    return fails_at(file, at) ? -1 : real arguments;                            \
  }

FAILING_AT(pwrite, (int file, const void *octets, size_t count, off_t at), (file, octets, count, at))
FAILING_AT(pwrite64, (int file, const void *octets, size_t count, off64_t at), (file, octets, count, at))
FAILING_AT(pwritev, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
FAILING_AT(pwritev64, (int file, const struct iovec *parts, int count, off64_t at), (file, parts, count, at))

static int64_t jump_ms(void) { return faults == NULL ? 0 : *(volatile int64_t *)(faults + 8); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t ns = now->tv_nsec + (jump_ms() % 1000) * 1000000;
    now->tv_sec += jump_ms() / 1000 + (ns < 0 ? -1 : ns / 1000000000);
    now->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
  }
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec precise;
  int result = clock_gettime(CLOCK_REALTIME, &precise);
  if (result == 0) {
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
  }
  return result;
}
