/* A stand-in for NVIDIA's management library: devices that exist only here, so that pynvml's own path (dlopen, ctypes, error codes)
 * runs on a machine without a GPU. What the devices are like comes from the environment when the library is initialised:
 *   STUB_GPUS          how many (2)
 *   STUB_UNSUPPORTED   name of a function that answers NOT_SUPPORTED (none)
 *   STUB_LOST          index of a device that is lost from its third power reading on (none)
 *   STUB_SLOW_MS       how long each power reading takes (0)
 *   STUB_INIT          what initialising answers (0)
 * Names, types and codes: NVML API reference. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, GPU_IS_LOST = 15 };
enum { MOST = 16 };

typedef struct { int index, readings; uint64_t millijoules; } device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;

static device devices[MOST];
static int initialised, count, lost, slow_ms;
static const char *unsupported = "";

static int from_environment(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static int answer(const char *function, const device *d) {
    if (!initialised) return UNINITIALIZED;
    if (d && d->index == lost && d->readings > 2) return GPU_IS_LOST;
    return strcmp(unsupported, function) ? SUCCESS : NOT_SUPPORTED;
}
#define CHECK(d) do { int code = answer(__func__, d); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = from_environment("STUB_INIT", SUCCESS);
    if (code) return code;
    count = from_environment("STUB_GPUS", 2);
    lost = from_environment("STUB_LOST", -1);
    slow_ms = from_environment("STUB_SLOW_MS", 0);
    if (getenv("STUB_UNSUPPORTED")) unsupported = getenv("STUB_UNSUPPORTED");
    for (int i = 0; i < MOST; i++) devices[i] = (device){i, 0, 1000000};
    initialised = 1;
    return SUCCESS;
}

int nvmlShutdown(void) { CHECK(NULL); initialised = 0; return SUCCESS; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    CHECK(NULL);
    snprintf(text, length, "580.65.06");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *n) { CHECK(NULL); *n = count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **d) {
    CHECK(NULL);
    if (index >= (unsigned)count) return INVALID_ARGUMENT;
    *d = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(device *d, char *text, unsigned length) {
    CHECK(d);
    snprintf(text, length, "GPU-%08d-0000-4000-8000-000000000000", d->index);
    return SUCCESS;
}

int nvmlDeviceGetName(device *d, char *text, unsigned length) {
    CHECK(d);
    snprintf(text, length, "Stub");
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(device *d, unsigned *milliwatts) {
    d->readings++;
    CHECK(d);
    struct timespec pause = {slow_ms / 1000, slow_ms % 1000 * 1000000L};
    if (slow_ms) nanosleep(&pause, NULL);
    *milliwatts = 100000 + 1500 * d->index;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(device *d, unsigned long long *millijoules) {
    CHECK(d);
    *millijoules = d->millijoules += 100000 + 1500 * d->index;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(device *d, utilization *rates) {
    CHECK(d);
    *rates = (utilization){10 * d->index, 5};
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(device *d, memory *info) {
    CHECK(d);
    *info = (memory){80000, 60000, 20000};
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(device *d, memory_v2 *info) {
    CHECK(d);
    if (info->version != (2u << 24 | sizeof(memory_v2))) return INVALID_ARGUMENT;
    *info = (memory_v2){info->version, 80000, 1000, 60000, 19000};
    return SUCCESS;
}

int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *celsius) {
    CHECK(d);
    if (sensor) return INVALID_ARGUMENT;
    *celsius = 40 + d->index;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(device *d, int clock, unsigned *megahertz) {
    CHECK(d);
    if (clock != 1) return INVALID_ARGUMENT;
    *megahertz = 1980;
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *milliwatts) {
    CHECK(d);
    *milliwatts = 700000;
    return SUCCESS;
}
