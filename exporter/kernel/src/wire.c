/* Texts beyond ASCII. */

#include "wire.h"

/* Whether the next bytes continue a letter. */
ALWAYS_INLINE int goes_on(const uint8_t *at, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    return 1;
}

/* What follows the ASCII of a text. Source: Unicode 15, table 3-7, "Well-Formed UTF-8 Byte Sequences". */
int unicode(Bytes in) {
    while (in.at < in.end) {
        uint8_t first = *in.at++;
        if (first < 0x80) continue;
        if (first < 0xE0) {
            if (first < 0xC2 || left(in) < 1 || !goes_on(in.at, 1)) return 0;
            in.at += 1;
        } else if (first < 0xF0) {
            if (left(in) < 2 || !goes_on(in.at, 2)) return 0;
            if ((first == 0xE0 && *in.at < 0xA0) || (first == 0xED && *in.at > 0x9F)) return 0;
            in.at += 2;
        } else {
            if (first > 0xF4 || left(in) < 3 || !goes_on(in.at, 3)) return 0;
            if ((first == 0xF0 && *in.at < 0x90) || (first == 0xF4 && *in.at > 0x8F)) return 0;
            in.at += 3;
        }
    }
    return 1;
}
