"""The entry of each gap rule's pair matrix as C++, which a compiler for the host accepts too.

So they are tested where there is no GPU: compiled with the host's compiler, they are compared with the
formulas of the core.
"""

__all__ = ["PAIRS", "PAIR_BODIES"]

PAIRS = r"""
// The geometric sum 1 + q + ... + q^(terms - 1), q = 1 - t, by doubling: S_2m = S_m (2 - t S_m).
template <typename T> DEVICE T geometric_sum(T t, int terms) {
    if (terms < 2) return T(terms);
    int bit = 1;
    while (2 * bit <= terms) bit *= 2;
    T total = 1;
    for (bit /= 2; bit > 0; bit /= 2) {
        total = total * (2 - t * total);
        if (terms & bit) total = total + (1 - t * total);
    }
    return total;
}

// With a the value of the larger magnitude, of equals the later one: the signed 1/a, 0 where a is rounding,
// and t = (a - b)/a.
template <typename T> struct Ratio {
    bool leads;
    T weight, t;
    DEVICE Ratio(T x, T y, long long row, long long column, T negligible) {
        leads = fabs(y) > fabs(x) || (fabs(y) == fabs(x) && column >= row);
        const T a = leads ? y : x, inverse = fabs(a) > negligible ? 1 / a : T(0);
        weight = leads ? inverse : -inverse;
        t = 2 * ((T(0.5) * y - T(0.5) * x) * weight);
    }
    DEVICE T unless_tied(T pair) const { return t != 0 ? weight * pair : T(0); }
};
"""

# For one pair of eigenvalues x = l_row, y = l_column, what stands for 1/(y - x), from the parameter of the
# rule; `scale` is the largest magnitude of the spectrum, and eigenvalues up to `negligible` are 0 to
# rounding.
PAIR_BODIES = {
    "ExactGap": r"""
        k = row == column || (parameter && x == y) ? T(0) : 1 / (y - x);
    """,
    "MaskedGap": r"""
        T gap = y - x;
        k = fabs(gap) > parameter ? 1 / gap : T(0);
    """,
    "BroadenedGap": r"""
        T gap = 2 * ((T(0.5) * y - T(0.5) * x) / scale);
        k = gap / (gap * gap + parameter * parameter) / scale;
    """,
    "ClippedGap": r"""
        T gap = y - x;
        k = fabs(gap) > 1 / parameter ? 1 / gap : gap > 0 ? parameter : gap < 0 ? -parameter : T(0);
    """,
    "PowerIterationGap": r"""
        Ratio<T> ratio(x, y, row, column, negligible);
        T fewer = geometric_sum(ratio.t, int(parameter) - 1), last = 1 - ratio.t * fewer;
        k = row == column ? T(0) : ratio.weight * (ratio.leads ? fewer + last : fewer);
    """,
    "BalancedPowerIterationGap": r"""
        Ratio<T> ratio(x, y, row, column, negligible);
        T fewer = geometric_sum(ratio.t, int(parameter) - 1);
        k = ratio.unless_tied(fewer + T(0.5) * (1 - ratio.t * fewer));
    """,
    "TaylorGap": r"""
        Ratio<T> ratio(x, y, row, column, negligible);
        k = ratio.unless_tied(geometric_sum(ratio.t, int(parameter) + 1));
    """,
    "PadeGap": r"""
        Ratio<T> ratio(x, y, row, column, negligible);
        T half_q = T(0.5) * (1 - ratio.t), numerator = geometric_sum(1 - half_q, 50);
        T quotient = (2 - numerator - 2 * pow(half_q, T(50))) / numerator;
        k = ratio.unless_tied(1 / (quotient > parameter ? quotient : parameter));
    """,
}
