/* The places of texts in tables. */

#pragma once

#include "wire.h"

/* Every bit of what goes in reaches the low bits, which choose slots. */
ALWAYS_INLINE uint64_t mixed(uint64_t hash) {
    hash = (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

ALWAYS_INLINE uint64_t hashed(const uint8_t *at, size_t size, uint64_t hash) {
    hash = mixed(hash ^ size);
    if (size >= 8) {
        for (size_t i = 0; i < size - 8; i += 8) hash = mixed(hash ^ word(at + i));
        return mixed(hash ^ word(at + size - 8));
    }
    uint64_t rest = 0;
    for (size_t i = 0; i < size; i++) rest = rest << 8 | at[i];
    return mixed(hash ^ rest);
}
