#include "histogram.h"

static uint64_t bucket_middle_ns(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t lowest_ns = (uint64_t)(HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS) << shift;
    return lowest_ns + ((1ull << shift) >> 1);
}

uint64_t histogram_quantile_ns(const struct histogram *histogram, double fraction)
{
    uint64_t rank = (uint64_t)((double)histogram->count * fraction);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > rank || (seen == rank && seen == histogram->count && seen > 0)) {
            uint64_t middle_ns = bucket_middle_ns(bucket);
            return middle_ns < histogram->highest_ns ? middle_ns : histogram->highest_ns;
        }
    }
    return 0;
}
