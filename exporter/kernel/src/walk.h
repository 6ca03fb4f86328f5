/* The way through an export to its spans, for both that go it. */

#pragma once

#include "spans.h"

/* What is made of a span: UNUSUAL ends the walk, else `is_fit` is set. */
typedef int Visit(State *state, const uint8_t *body, Bytes span, Bytes scope, int *is_fit);

/* Whether a resource can be read. */
typedef int Judge(State *state, Bytes resource);

/* The name of a scope. */
static int scope_name(Bytes in, Bytes *name) {
    uint32_t seen = 0;
    *name = (Bytes){in.at, in.at};
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, LENGTH)) {
            if (!first_time(&seen, 1) || !content(&in, name)) return 0;
        } else if (of >> 3 == 1 || !skipped(&in, of)) {
            return 0;
        }
    }
    return 1;
}

ALWAYS_INLINE int scope_walked(State *state, const uint8_t *body, Bytes in, Bytes resource, Visit *visit) {
    Bytes scope = {in.at, in.at}, part;
    uint32_t seen = 0;
    uint64_t fit_before = state->spans - state->malformed;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(2, LENGTH)) {
            int fit = 0;
            seen |= 1 << 2;
            if (!content(&in, &part)) return UNUSUAL;
            int result = visit(state, body, part, scope, &fit);
            if (result == UNUSUAL) return UNUSUAL;
            state->spans++;
            state->malformed += !fit;
        } else if (of == TAG(1, LENGTH)) {
            if (seen || !content(&in, &part) || !scope_name(part, &scope)) return UNUSUAL; /* twice, or after its spans */
            seen |= 1 << 1;
        } else if (of >> 3 <= 2 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    if (!is_utf8(scope)) return UNUSUAL; /* one without spans is looked at nowhere else */
    uint64_t fit = state->spans - state->malformed - fit_before;
    if (fit) {
        state->section[state->sections++] = (Section){
            (uint32_t)(resource.at - body), (uint32_t)(resource.end - body), (uint32_t)(scope.at - body), (uint32_t)(scope.end - body), (uint32_t)fit,
        };
    }
    return USUAL;
}

ALWAYS_INLINE int resource_walked(State *state, const uint8_t *body, Bytes in, Judge *judge, Visit *visit) {
    Bytes resource = {in.at, in.at}, part;
    uint32_t seen = 0;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(2, LENGTH)) {
            seen |= 1 << 2;
            if (!content(&in, &part) || scope_walked(state, body, part, resource, visit) != USUAL) return UNUSUAL;
        } else if (of == TAG(1, LENGTH)) {
            if (seen || !content(&in, &resource) || (judge && !judge(state, resource))) return UNUSUAL;
            seen |= 1 << 1;
        } else if (of >> 3 <= 2 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    return USUAL;
}

ALWAYS_INLINE int walked(State *state, const uint8_t *body, size_t size, Judge *judge, Visit *visit) {
    Bytes in = {body, body + size}, part;
    state->spans = state->malformed = state->new_names = state->sections = state->outlined = 0;
    state->first_begin = state->first_end = state->last_begin = state->last_end = 0;
    if (size > LONGEST_BODY || !state->layouts) return UNUSUAL;
    while (in.at < in.end) {
        uint32_t of = tag(&in);
        if (of == TAG(1, LENGTH)) {
            if (!content(&in, &part) || resource_walked(state, body, part, judge, visit) != USUAL) return UNUSUAL;
        } else if (of >> 3 == 1 || !skipped(&in, of)) {
            return UNUSUAL;
        }
    }
    return state->new_names ? NEW_NAMES : USUAL;
}
