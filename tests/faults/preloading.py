"""Functions in place of the C library's, for a process that is to meet a fault."""

from __future__ import annotations

import subprocess
from pathlib import Path

HANGING_DISK = b"#include <unistd.h>\nint fsync(int file) { (void)file; for (;;) pause(); }\n"
"""What is to reach the disk never does."""

HANGING_FILE = b"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
static int opened(const char *name, const char *path, int flags, int mode) {
    if (strstr(path, "hangs.json")) for (;;) pause();
    int (*next)(const char *, int, int) = (int (*)(const char *, int, int))dlsym(RTLD_NEXT, name);
    return next(path, flags, mode);
}
#define HANGS(name) int name(const char *path, int flags, ...) { \\
    va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); return opened(#name, path, flags, mode); }
HANGS(open) HANGS(open64)
"""
"""Whoever opens a file of this name never comes back, as on a file system whose server is gone."""

STEPPED_CLOCK = b"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = next(clock, now);
    long step = 0;
    const char *path = getenv("STEP_FILE");
    FILE *file = path && clock == CLOCK_REALTIME ? fopen(path, "r") : NULL;
    if (file) { if (fscanf(file, "%ld", &step) == 1) now->tv_sec += step; fclose(file); }
    return code;
}
"""
"""The wall clock is off by as many seconds as the file says that STEP_FILE names; the others go on."""


def preloaded(folder: Path, code: bytes) -> dict[str, str]:
    """The environment in which a process has these functions."""
    library = folder / "preloaded.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-o", str(library), "-", "-ldl"], input=code, check=True)
    return {"LD_PRELOAD": str(library)}
