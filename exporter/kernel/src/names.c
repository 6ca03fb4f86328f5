#include "names.h"

#include "hash.h"
#include "kernel.h"

ALWAYS_INLINE uint64_t hash_of(const State *state, Bytes scope, Bytes name) {
    return hashed(name.at, left(name), hashed(scope.at, left(scope), state->seed));
}

Name *slot_of(State *state, Bytes scope, Bytes name) {
    uint64_t hash = hash_of(state, scope, name);
    for (unsigned i = 0; i < MOST_PROBES; i++) {
        Name *slot = &state->name[(hash + i) & (NAME_SLOTS - 1)];
        if (!slot->taken) return slot;
        if (slot->hash != hash || slot->scope_size != left(scope) || slot->name_size != left(name)) continue;
        const uint8_t *kept = state->name_bytes + slot->at;
        if (same(kept, scope.at, slot->scope_size) && same(kept + slot->scope_size, name.at, slot->name_size)) return slot;
    }
    return NULL;
}

int noted(State *state, const uint8_t *body, Bytes scope, Bytes name) {
    for (uint64_t i = 0; i < state->new_names; i++) {
        const uint32_t *known = state->fresh[i];
        if (known[3] - known[2] == left(name) && known[1] - known[0] == left(scope) && same(body + known[2], name.at, left(name)) &&
            same(body + known[0], scope.at, left(scope)))
            return 1;
    }
    if (state->new_names == MOST_NEW) return 0;
    uint32_t *fresh = state->fresh[state->new_names++];
    fresh[0] = (uint32_t)(scope.at - body);
    fresh[1] = (uint32_t)(scope.end - body);
    fresh[2] = (uint32_t)(name.at - body);
    fresh[3] = (uint32_t)(name.end - body);
    return 1;
}

/* Adds a layout of so many keys, one after the other; its number, or UNREAD where it is beyond limits. */
uint32_t infermeter_kernel_layout(State *state, const uint8_t *keys, const uint32_t *sizes, uint32_t count, uint32_t events) {
    if (state->layouts == MOST_LAYOUTS || count > MOST_KEYS) return UNREAD;
    Layout *layout = &state->layout[state->layouts];
    memset(layout, 0, sizeof *layout);
    memset(layout->first_of_size, 0xFF, sizeof layout->first_of_size);
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i] > LONGEST_KEY || sizes[i] > KEY_BYTES - layout->key_bytes) return UNREAD;
        memcpy(layout->key + layout->key_bytes, keys, sizes[i]);
        keys += sizes[i];
        layout->key_at[i] = layout->key_bytes;
        layout->key_size[i] = (uint8_t)sizes[i];
        layout->key_bytes += sizes[i];
        layout->next_of_size[i] = layout->first_of_size[sizes[i]];
        layout->first_of_size[sizes[i]] = (uint16_t)i;
    }
    layout->keys = count;
    layout->events = events != 0;
    return state->layouts++;
}

/* Remembers the layout of a name of a scope; 0 where there is no room. */
int infermeter_kernel_name(State *state, const uint8_t *scope, size_t scope_size, const uint8_t *name, size_t name_size, uint32_t layout) {
    if (scope_size > LONGEST_NAME || name_size > LONGEST_NAME || state->names == MOST_NAMES) return 0;
    if (scope_size + name_size > NAME_BYTES - state->name_used) return 0;
    Bytes of_scope = {scope, scope + scope_size}, of_name = {name, name + name_size};
    Name *slot = slot_of(state, of_scope, of_name);
    if (!slot) return 0;
    if (slot->taken) return 1;
    *slot = (Name){hash_of(state, of_scope, of_name), state->name_used, (uint16_t)scope_size, (uint16_t)name_size, 1, (uint8_t)layout};
    memcpy(state->name_bytes + state->name_used, scope, scope_size);
    memcpy(state->name_bytes + state->name_used + scope_size, name, name_size);
    state->name_used += (uint32_t)(scope_size + name_size);
    state->names++;
    return 1;
}

/* Forgets all names. */
void infermeter_kernel_forget(State *state) {
    memset(state->name, 0, sizeof state->name);
    state->names = state->name_used = 0;
}
