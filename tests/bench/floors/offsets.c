#include "offsets.h"

#include <stdlib.h>

size_t bench_offsets_read(const char *text, int64_t ret_offsets[BENCH_PARTITIONS_MAX])
{
    size_t count = 0;
    char  *end;

    for (;; text = end + 1) {
        if (count == BENCH_PARTITIONS_MAX)
            return 0;
        ret_offsets[count++] = strtoll(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0'))
            return 0;
        if (*end == '\0')
            return count;
    }
}
