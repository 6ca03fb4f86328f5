#include "texts.h"

#include "hash.h"

uint32_t interned(Interned *table, Place *place, uint32_t most, const uint8_t *body, Bytes text, uint64_t seed) {
    uint64_t hash = hashed(text.at, left(text), seed);
    uint32_t *free_slot = NULL;
    for (unsigned i = 0; i < MOST_PROBES; i++) {
        uint32_t *slot = &table->slots[(hash + i) & (TEXT_SLOTS - 1)];
        if (!*slot) {
            free_slot = slot;
            break;
        }
        Place known = place[*slot - 1];
        if (known.end - known.begin == left(text) && same(body + known.begin, text.at, left(text))) return *slot - 1;
    }
    if (table->count == most) return most;
    place[table->count] = (Place){(uint32_t)(text.at - body), (uint32_t)(text.end - body)};
    table->count++;
    if (free_slot && table->interned < MOST_INTERNED) {
        table->interned++;
        *free_slot = table->count;
    }
    return table->count - 1;
}

void forgotten(Interned *table) {
    if (table->interned) memset(table->slots, 0, sizeof table->slots);
    table->count = table->interned = 0;
}
