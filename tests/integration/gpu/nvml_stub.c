/* A stand-in for NVIDIA's management library: devices that exist only here, so that pynvml's own path (dlopen, ctypes, error codes)
 * runs on a machine without a GPU. What the devices are like comes from the environment when the library is initialised:
 *   STUB_GPUS           how many (2)
 *   STUB_INIT           what initialising answers (0)
 *   STUB_GONE_FILE      while this file exists the driver isn't loaded
 *   STUB_UNSUPPORTED    functions that answer NOT_SUPPORTED, by name, or name:index for one device; separated by commas
 *   STUB_FIELDS         what fields answer, "field=code" or "field/scope=code", separated by commas; a field left out answers
 *   STUB_SCOPE          "module": power is told of the module, and not of the GPU
 *   STUB_ARCHITECTURE   NVML_DEVICE_ARCH_* (9, Hopper) ; STUB_CAPABILITY its major * 10 + minor (90)
 *   STUB_LOST           index of a device that is lost from reading STUB_LOST_FROM (3) on, until STUB_BACK_FILE exists
 *   STUB_SLOW_MS        how long each reading takes (0), of device STUB_SLOW (all)
 *   STUB_HANG           index of a device that hangs from reading STUB_HANG_FROM (3) on, until STUB_HANG_FILE exists
 *   STUB_HANG_ALL_FILE  while this file exists every device hangs
 *   STUB_LOAD           "sine" (default) or "steps": the power of a device between STUB_IDLE (100) and STUB_PEAK (700) watts, with a
 *                       period of STUB_PERIOD_MS (7000); each device is 1/8 of a period later than the one before
 *   STUB_COUNTER_MS     how often the energy counter moves (0: always); STUB_RESET_MS when it starts again from 0 (never)
 *   STUB_MIG            instances, "index:slices+slices", separated by commas; STUB_MIG_ACTIVE their per cent active, "50+0+25"
 *   STUB_PROCESSES      who computes, "index:pid+pid", separated by commas; STUB_USAGE what they use in per cent, "pid=percent"
 * Time is real, or what stub_set_time_ns sets. A reading is counted where memory is asked for. A device's true energy is stub_joules.
 * Names, types and codes: NVML API reference. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { MOST = 16, MOST_INSTANCES = 8, MOST_PIDS = 8, SLICES = 7, DEPTH = 120 };

typedef struct device {
    int index, instance, slices, readings, instances, active;
    struct device *parent;
    unsigned pids[MOST_PIDS], processes;
} device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { u64 total, free, used; } memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
typedef union { double d; unsigned ui; u64 ull; } value;
typedef struct { unsigned id, scope; long long time, latency; unsigned type, code; value value; } field_value;
typedef struct { u64 time; value value; } sample;
typedef struct { u64 reference, violation; } violation;
typedef struct { unsigned pid; u64 time; unsigned sm, memory, encoder, decoder; } process_use;
typedef struct { unsigned pid; u64 memory; unsigned gpu_instance, compute_instance; } process;
typedef struct { unsigned sms, copies, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices; u64 megabytes; } attributes;
typedef struct { double seconds, joules; int active; } gpm_sample;
typedef struct { unsigned id, code; double value; const char *text[3]; } gpm_metric;
typedef struct { unsigned version, count; gpm_sample *first, *second; gpm_metric metrics[]; } gpm_request;

static device devices[MOST], mig[MOST][MOST_INSTANCES];
static int initialised, count, allocated;
static u64 scripted_ns, born_ns;
static double idle, peak, period;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoi(text) : otherwise;
}
static const char *text(const char *name) { const char *value = getenv(name); return value ? value : ""; }
static int is_there(const char *name) { return *text(name) && !access(text(name), F_OK); }

/* --- time, load, energy: exact, so that the truth is known ------------------------------------------------------------------------- */
static u64 now_ns(void) {
    struct timespec t;
    if (scripted_ns) return scripted_ns;
    clock_gettime(CLOCK_REALTIME, &t);
    return (u64)t.tv_sec * 1000000000ull + (u64)t.tv_nsec;
}
static double age(void) { return (double)(long long)(now_ns() - born_ns) / 1e9; }

static double load_integral(const device *d, double t) {
    double shifted = t + period * d->index / 8.0, whole = floor(shifted / period), rest = shifted - whole * period;
    if (!strcmp(text("STUB_LOAD"), "steps")) return whole * period / 2 + fmax(0, rest - period / 2);
    return shifted / 2 - period / (4 * M_PI) * sin(2 * M_PI * shifted / period);
}
static double joules_at(const device *d, double t) {
    return idle * t + (peak - idle) * (load_integral(d, t) - load_integral(d, 0));
}
static double watts_at(const device *d, double t) {
    double shifted = t + period * d->index / 8.0, rest = shifted - floor(shifted / period) * period;
    if (!strcmp(text("STUB_LOAD"), "steps")) return rest < period / 2 ? idle : peak;
    return idle + (peak - idle) * (0.5 - 0.5 * cos(2 * M_PI * shifted / period));
}
static unsigned instant_mw(const device *d) { return (unsigned)(1000 * watts_at(d, age()) + 0.5); }
static unsigned average_mw(const device *d) { return (unsigned)(1000 * (joules_at(d, age()) - joules_at(d, age() - 1)) + 0.5); }

void stub_set_time_ns(u64 ns) { if (!scripted_ns) born_ns = ns; scripted_ns = ns; }
double stub_joules(unsigned index) { return joules_at(&devices[index], age()); }
int stub_allocated(void) { return allocated; }

/* --- what goes wrong --------------------------------------------------------------------------------------------------------------- */
static int is_listed(const char *list, const char *name, int index) {
    char one[128];
    snprintf(one, sizeof one, "%s:%d", name, index);
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
        size_t length = strcspn(at, ",");
        if (length == strlen(name) && !strncmp(at, name, length)) return 1;
        if (length == strlen(one) && !strncmp(at, one, length)) return 1;
    }
    return 0;
}
static int answer(const char *function, const device *d) {
    if (is_there("STUB_GONE_FILE")) return DRIVER_NOT_LOADED;
    if (!initialised) return UNINITIALIZED;
    if (d && d->index == number("STUB_LOST", -1) && devices[d->index].readings >= number("STUB_LOST_FROM", 3) && !is_there("STUB_BACK_FILE"))
        return GPU_IS_LOST;
    return is_listed(text("STUB_UNSUPPORTED"), function, d ? d->index : -1) ? NOT_SUPPORTED : SUCCESS;
}
#define CHECK(d) do { int code = answer(__func__, d); if (code) return code; } while (0)

static void pause_ms(int ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000L};
    if (ms > 0) nanosleep(&pause, NULL);
}
static void count_reading(device *d) {
    d->readings++;
    if (number("STUB_SLOW", d->index) == d->index) pause_ms(number("STUB_SLOW_MS", 0));
    if (d->index == number("STUB_HANG", -1) && d->readings >= number("STUB_HANG_FROM", 3))
        while (!is_there("STUB_HANG_FILE")) pause_ms(5);
    while (is_there("STUB_HANG_ALL_FILE")) pause_ms(5);
}

/* --- the library and its devices ---------------------------------------------------------------------------------------------------- */
static const char *listed_for(const char *list, int index) {
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (atoi(at) == index) return at + strcspn(at, ":") + 1;
    return NULL;
}
static int numbers(const char *from, unsigned *to, int most) {
    int n = 0;
    while (from && *from && *from != ',' && n < most) {
        to[n++] = (unsigned)strtoul(from, (char **)&from, 10);
        if (*from == '+') from++;
    }
    return n;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = number("STUB_INIT", SUCCESS);
    if (code) return code;
    if (is_there("STUB_GONE_FILE")) return DRIVER_NOT_LOADED;
    if (!born_ns) born_ns = now_ns();
    count = number("STUB_GPUS", 2);
    idle = number("STUB_IDLE", 100), peak = number("STUB_PEAK", 700), period = number("STUB_PERIOD_MS", 7000) / 1e3;
    for (int i = 0; i < MOST; i++) {
        int readings = devices[i].readings;
        unsigned slices[MOST_INSTANCES], active[MOST_INSTANCES];
        devices[i] = (device){.index = i, .instance = -1, .readings = readings};
        devices[i].processes = (unsigned)numbers(listed_for(text("STUB_PROCESSES"), i), devices[i].pids, MOST_PIDS);
        devices[i].instances = numbers(listed_for(text("STUB_MIG"), i), slices, MOST_INSTANCES);
        int told = numbers(text("STUB_MIG_ACTIVE"), active, MOST_INSTANCES);
        for (int j = 0; j < devices[i].instances; j++)
            mig[i][j] = (device){.index = i, .instance = j, .slices = (int)slices[j], .parent = &devices[i], .active = j < told ? (int)active[j] : 0};
    }
    initialised = 1;
    return SUCCESS;
}
int nvmlShutdown(void) { CHECK(NULL); initialised = 0; return SUCCESS; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) { CHECK(NULL); snprintf(to, length, "580.65.06"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *n) { CHECK(NULL); *n = (unsigned)count; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **d) {
    if (index >= (unsigned)count) return INVALID_ARGUMENT;
    CHECK(&devices[index]);
    *d = &devices[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, device **d) {
    int index = 0;
    if (sscanf(uuid, "GPU-%d-", &index) != 1 || index >= count) return NOT_FOUND;
    return nvmlDeviceGetHandleByIndex_v2((unsigned)index, d);
}
int nvmlDeviceGetUUID(device *d, char *to, unsigned length) {
    CHECK(d);
    if (d->parent) snprintf(to, length, "MIG-%08d-000%d-4000-8000-000000000000", d->index, d->instance);
    else snprintf(to, length, "GPU-%08d-0000-4000-8000-000000000000", d->index);
    return SUCCESS;
}
int nvmlDeviceGetName(device *d, char *to, unsigned length) {
    CHECK(d);
    if (d->parent) snprintf(to, length, "Stub MIG %dg.10gb", d->slices);
    else snprintf(to, length, "Stub");
    return SUCCESS;
}
int nvmlDeviceGetArchitecture(device *d, unsigned *to) { CHECK(d); *to = (unsigned)number("STUB_ARCHITECTURE", 9); return SUCCESS; }
int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) {
    CHECK(d);
    *major = number("STUB_CAPABILITY", 90) / 10, *minor = number("STUB_CAPABILITY", 90) % 10;
    return SUCCESS;
}

/* --- readings ----------------------------------------------------------------------------------------------------------------------- */
#define WHOLE(d) do { CHECK(d); if ((d)->parent) return NOT_SUPPORTED; } while (0)

int nvmlDeviceGetPowerUsage(device *d, unsigned *milliwatts) { WHOLE(d); *milliwatts = average_mw(d); return SUCCESS; }

int nvmlDeviceGetTotalEnergyConsumption(device *d, u64 *millijoules) {
    if (!d->parent) count_reading(d);
    WHOLE(d);
    double t = age(), step = number("STUB_COUNTER_MS", 0) / 1e3, reset = number("STUB_RESET_MS", -1) / 1e3;
    if (step > 0) t = floor(t / step) * step;
    *millijoules = (u64)(1000 * (reset >= 0 && t >= reset ? joules_at(d, t) - joules_at(d, reset) : 1000 + joules_at(d, t)));
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(device *d, utilization *rates) {
    WHOLE(d);
    *rates = (utilization){(unsigned)(100 * (watts_at(d, age()) - idle) / (peak - idle) + 0.5), 5};
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device *d, memory *info) { CHECK(d); *info = (memory){80000, 60000, 20000}; return SUCCESS; }
int nvmlDeviceGetMemoryInfo_v2(device *d, memory_v2 *info) {
    CHECK(d);
    if (info->version != (2u << 24 | sizeof(memory_v2))) return INVALID_ARGUMENT;
    u64 total = d->parent ? 10000 * (u64)d->slices : 80000;
    *info = (memory_v2){info->version, total, 1000, total - 20000, 19000};
    return SUCCESS;
}
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *celsius) {
    WHOLE(d);
    if (sensor) return INVALID_ARGUMENT;
    *celsius = 40 + (unsigned)d->index;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(device *d, int clock, unsigned *megahertz) {
    WHOLE(d);
    if (clock != 1) return INVALID_ARGUMENT;
    *megahertz = 1980;
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *milliwatts) { WHOLE(d); *milliwatts = 700000; return SUCCESS; }

/* Parts per thousand of the time since the beginning in which clocks were held down, by field or by policy. */
static int held_down(unsigned field) {
    switch (field) {
    case 74: return 100; case 271: return 10; case 75: return 50; case 269: return 20; case 270: return 35; case 76: return 4; case 77: return 2;
    case 78: return 900; case 79: return 800; default: return -1;
    }
}
int nvmlDeviceGetViolationStatus(device *d, unsigned policy, violation *to) {
    WHOLE(d);
    if (policy > 5) return INVALID_ARGUMENT;
    *to = (violation){now_ns() / 1000, (u64)(held_down(74 + policy) * age() * 1e6)};
    return SUCCESS;
}
static int field_code(const field_value *f) {
    int module = !strcmp(text("STUB_SCOPE"), "module");
    for (const char *at = text("STUB_FIELDS"); *at; at += strcspn(at, ","), at += *at == ',') {
        unsigned id = 0, scope = 0;
        int code = 0;
        if (sscanf(at, "%u/%u=%d", &id, &scope, &code) == 3 && id == f->id && scope == f->scope) return code;
        if (sscanf(at, "%u=%d", &id, &code) == 2 && id == f->id) return code;
    }
    if (f->id == 185 || f->id == 186) return f->scope == (unsigned)module ? SUCCESS : NOT_SUPPORTED;
    return f->id == 197 || f->id == 198 || held_down(f->id) >= 0 ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetFieldValues(device *d, int n, field_value *fields) {
    WHOLE(d);
    for (field_value *f = fields; f < fields + n; f++) {
        f->code = (unsigned)field_code(f);
        f->type = f->id == 185 || f->id == 186 ? 1 : 3;
        if (f->id == 185) f->value.ui = average_mw(d);
        else if (f->id == 186) f->value.ui = instant_mw(d);
        else if (f->id == 197 || f->id == 198) f->value.ull = (u64)(age() * 1e9 * (f->id - 196));
        else f->value.ull = (u64)(held_down(f->id) * age() * 1e6);
    }
    return SUCCESS;
}

/* The driver's own readings of power: one each 50 ms, the last DEPTH of them. */
int nvmlDeviceGetSamples(device *d, int kind, u64 last_us, unsigned *type, unsigned *n, sample *to) {
    WHOLE(d);
    if (kind) return NOT_SUPPORTED;
    u64 step = 50000, newest = now_ns() / 1000 / step, oldest = newest > DEPTH ? newest - DEPTH + 1 : 0;
    if (last_us / step + 1 > oldest) oldest = last_us / step + 1;
    if (oldest > newest) return NOT_FOUND;
    *type = 1;
    for (u64 at = oldest; to && at <= newest && at - oldest < *n; at++)
        to[at - oldest] = (sample){at * step, {.ui = (unsigned)(1000 * watts_at(d, (double)(long long)(at * step * 1000 - born_ns) / 1e9))}};
    *n = (unsigned)(newest - oldest + 1);
    return SUCCESS;
}

/* --- profiling ----------------------------------------------------------------------------------------------------------------------- */
int nvmlGpmQueryDeviceSupport(device *d, unsigned *support) { WHOLE(d); support[1] = 1; return SUCCESS; }
int nvmlGpmSampleAlloc(gpm_sample **to) { CHECK(NULL); *to = calloc(1, sizeof **to); allocated++; return SUCCESS; }
int nvmlGpmSampleFree(gpm_sample *which) { free(which); allocated--; return SUCCESS; }
int nvmlGpmSampleGet(device *d, gpm_sample *to) { WHOLE(d); *to = (gpm_sample){age(), joules_at(d, age()), -1}; return SUCCESS; }
int nvmlGpmMigSampleGet(device *d, unsigned instance, gpm_sample *to) {
    WHOLE(d);
    if (instance >= (unsigned)d->instances) return INVALID_ARGUMENT;
    *to = (gpm_sample){age(), joules_at(d, age()), mig[d->index][instance].active};
    return SUCCESS;
}
int nvmlGpmMetricsGet(gpm_request *request) {
    CHECK(NULL);
    if (request->version != 1) return INVALID_ARGUMENT;
    double seconds = request->second->seconds - request->first->seconds, joules = request->second->joules - request->first->joules;
    double load = seconds > 0 ? (joules / seconds - idle) / (peak - idle) : NAN;
    if (request->second->active >= 0) load = request->second->active / 100.0;
    for (gpm_metric *m = request->metrics; m < request->metrics + request->count; m++)
        m->code = SUCCESS, m->value = 100 * load / m->id;
    return SUCCESS;
}

/* --- instances ------------------------------------------------------------------------------------------------------------------------ */
int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    WHOLE(d);
    *current = *pending = d->instances > 0;
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *n) { WHOLE(d); *n = SLICES; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **to) {
    WHOLE(d);
    if (index >= (unsigned)d->instances) return NOT_FOUND;
    *to = &mig[d->index][index];
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(device *d, unsigned *to) { CHECK(d); if (!d->parent) return INVALID_ARGUMENT; *to = (unsigned)d->instance; return SUCCESS; }
int nvmlDeviceGetAttributes_v2(device *d, attributes *to) {
    CHECK(d);
    if (!d->parent) return NOT_SUPPORTED;
    *to = (attributes){.gpu_slices = (unsigned)d->slices, .compute_slices = (unsigned)d->slices};
    return SUCCESS;
}

/* --- processes ------------------------------------------------------------------------------------------------------------------------ */
int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *n, process *to) {
    CHECK(d);
    unsigned room = to ? *n : 0;
    *n = d->processes;
    if (room < d->processes) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < d->processes; i++) to[i] = (process){.pid = d->pids[i], .memory = 1000};
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v2(device *d, unsigned *n, process *to) {
    CHECK(d);
    return nvmlDeviceGetComputeRunningProcesses_v3(d, n, to);
}
static unsigned usage_of(unsigned pid) {
    unsigned who = 0, percent = 0;
    for (const char *at = text("STUB_USAGE"); *at; at += strcspn(at, ","), at += *at == ',')
        if (sscanf(at, "%u=%u", &who, &percent) == 2 && who == pid) return percent;
    return 0;
}
/* One reading a second for each process, the last DEPTH seconds of them. */
int nvmlDeviceGetProcessUtilization(device *d, process_use *to, unsigned *n, u64 last_us) {
    WHOLE(d);
    u64 newest = now_ns() / 1000000000, oldest = newest - DEPTH + 1;
    if (last_us / 1000000 + 1 > oldest) oldest = last_us / 1000000 + 1;
    unsigned needed = oldest > newest ? 0 : (unsigned)(newest - oldest + 1) * d->processes;
    if (!needed) return NOT_FOUND;
    if (!to || *n < needed) { *n = needed; return INSUFFICIENT_SIZE; }
    for (u64 at = oldest; at <= newest; at++)
        for (unsigned i = 0; i < d->processes; i++) *to++ = (process_use){.pid = d->pids[i], .time = at * 1000000, .sm = usage_of(d->pids[i])};
    *n = needed;
    return SUCCESS;
}
