/* What is called by infermeter/otlp/kernel_library.py. */

#pragma once

#include "state.h"

#define PUBLIC __attribute__((visibility("default")))

PUBLIC uint32_t infermeter_kernel_interface(void);
PUBLIC void infermeter_kernel_places(uint64_t places[12]);
PUBLIC void infermeter_kernel_begin(State *state, uint64_t seed);
PUBLIC uint32_t infermeter_kernel_layout(State *state, const uint8_t *keys, const uint32_t *sizes, uint32_t count, uint32_t events);
PUBLIC int infermeter_kernel_name(State *state, const uint8_t *scope, size_t scope_size, const uint8_t *name, size_t name_size, uint32_t layout);
PUBLIC void infermeter_kernel_forget(State *state);
PUBLIC int infermeter_kernel_check(State *state, const uint8_t *body, size_t size);
PUBLIC int infermeter_kernel_outline(State *state, const uint8_t *body, size_t size);
PUBLIC int infermeter_kernel_extract(
    State *state, const uint8_t *body, size_t size, uint32_t first, uint32_t count, uint32_t number, uint8_t *block, size_t block_bytes
);
