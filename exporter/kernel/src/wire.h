/* Protobuf's encoding: pieces of an export, and the fields that they are made of. Every read is behind a comparison with the end of its piece.

Source: protobuf encoding guide. */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "written for little-endian machines, as protobuf's fixed numbers are"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define LIKELY(x) __builtin_expect(!!(x), 1)

enum { VARINT, FIXED64, LENGTH, FIXED32 = 5 };
#define TAG(number, type) ((number) << 3 | (type))
enum { LONGEST_TAG = 4, LONGEST_INTEGER = 10 };

typedef struct {
    const uint8_t *at, *end;
} Bytes;

ALWAYS_INLINE size_t left(Bytes in) { return (size_t)(in.end - in.at); }

ALWAYS_INLINE uint64_t word(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

ALWAYS_INLINE uint32_t half(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Whether so many bytes are the same; a call of memcmp costs more than most of them. */
ALWAYS_INLINE int same(const uint8_t *a, const uint8_t *b, size_t size) {
    if (size >= 8) {
        for (size_t i = 0; i < size - 8; i += 8)
            if (word(a + i) != word(b + i)) return 0;
        return word(a + size - 8) == word(b + size - 8);
    }
    if (size >= 4) return half(a) == half(b) && half(a + size - 4) == half(b + size - 4);
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

/* Whether a text that isn't all ASCII is UTF-8. */
int unicode(Bytes in);

ALWAYS_INLINE int is_utf8(Bytes in) {
    const uint64_t high = UINT64_C(0x8080808080808080);
    for (; left(in) >= 32; in.at += 32)
        if ((word(in.at) | word(in.at + 8) | word(in.at + 16) | word(in.at + 24)) & high) return unicode(in);
    for (; left(in) >= 8; in.at += 8)
        if (word(in.at) & high) return unicode(in);
    for (; in.at < in.end; in.at++)
        if (*in.at & 0x80) return unicode(in);
    return 1;
}

/* A varint of at most so many bytes; 0 where there is none. */
ALWAYS_INLINE int varint(Bytes *in, unsigned longest, uint64_t *value) {
    if (LIKELY(in->at < in->end && *in->at < 0x80)) {
        *value = *in->at++;
        return 1;
    }
    uint64_t told = 0;
    for (unsigned i = 0; i < longest && in->at < in->end; i++) {
        uint8_t byte = *in->at++;
        if (i == 9 && byte > 1) return 0; /* more than 64 bits */
        told |= (uint64_t)(byte & 0x7F) << 7 * i;
        if (byte < 0x80) {
            *value = told;
            return 1;
        }
    }
    return 0;
}

/* The tag of the next field; 0 where there is none. That of a field 0 is nothing that `skipped` would pass over. */
ALWAYS_INLINE uint32_t tag(Bytes *in) {
    uint64_t value;
    return varint(in, LONGEST_TAG, &value) ? (uint32_t)value : 0;
}

/* What a length and as many bytes tell. */
ALWAYS_INLINE int content(Bytes *in, Bytes *told) {
    uint64_t size;
    if (!varint(in, LONGEST_TAG, &size) || size > left(*in)) return 0;
    told->at = in->at;
    told->end = in->at += size;
    return 1;
}

ALWAYS_INLINE int fixed64(Bytes *in, uint64_t *value) {
    if (left(*in) < 8) return 0;
    *value = word(in->at);
    in->at += 8;
    return 1;
}

/* Passes over the value of a field that isn't read; 0 where there was no tag, or that of a field 0, too. */
ALWAYS_INLINE int skipped(Bytes *in, uint32_t of) {
    uint64_t number;
    Bytes bytes;
    if (of < TAG(1, 0)) return 0;
    switch (of & 7) {
    case VARINT: return varint(in, LONGEST_INTEGER, &number);
    case FIXED64: return fixed64(in, &number);
    case LENGTH: return content(in, &bytes);
    case FIXED32:
        if (left(*in) < 4) return 0;
        in->at += 4;
        return 1;
    default: return 0;
    }
}
