#include "attributes.h"

static uint16_t column_of(const Layout *layout, Bytes key) {
    if (left(key) > LONGEST_KEY) return NO_COLUMN;
    for (uint16_t column = layout->first_of_size[left(key)]; column != NO_COLUMN; column = layout->next_of_size[column])
        if (same(layout->key + layout->key_at[column], key.at, left(key))) return column;
    return NO_COLUMN;
}

int any_attribute(Layout *layout, unsigned number, Bytes in, uint16_t *column, Bytes *value) {
    const uint8_t *begin = in.at;
    Bytes key;
    if (tag(&in) != TAG(1, LENGTH) || !content(&in, &key) || !is_utf8(key)) return 0;
    *column = column_of(layout, key);
    *value = (Bytes){in.end, in.end};
    if (in.at == in.end) return 1;
    if (tag(&in) != TAG(2, LENGTH)) return 0;
    size_t size = (size_t)(in.at - begin);
    if (number < MOST_STEPS && size <= LONGEST_STEP) {
        Step *step = &layout->steps[number];
        memcpy(step->begin, begin, size);
        step->size = (uint8_t)size;
        step->column = *column;
    }
    return content(&in, value) && in.at == in.end;
}
