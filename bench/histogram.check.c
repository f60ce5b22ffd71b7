/* Checks the histogram against the exact quantiles of what was put in; built and run by a test. */
#include "histogram.h"

#include <math.h>
#include <stdio.h>

static struct histogram histogram;

static int differs(double fraction, double expected_ns)
{
    double found_ns = (double)histogram_quantile_ns(&histogram, fraction);
    if (fabs(found_ns - expected_ns) <= 0.017 * expected_ns)
        return 0;
    printf("quantile %.3f: %.0f ns, expected %.0f ns\n", fraction, found_ns, expected_ns);
    return 1;
}

int main(void)
{
    int wrong = histogram_quantile_ns(&histogram, 0.5) != 0;
    for (uint64_t value_ns = 1; value_ns <= 1000000; value_ns++)
        histogram_record(&histogram, value_ns);
    wrong += differs(0.0001, 100) + differs(0.5, 500000) + differs(0.99, 990000);
    wrong += differs(1, 1000000);

    /* One value far away: only the outermost quantile sees it. */
    histogram_record(&histogram, 1ull << 40);
    wrong += differs(0.99, 990000) + differs(1, (double)(1ull << 40));
    wrong += histogram.highest_ns != 1ull << 40;
    return wrong != 0;
}
