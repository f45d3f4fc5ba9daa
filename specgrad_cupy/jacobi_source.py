"""The Jacobi kernel as C++, whose arithmetic a compiler for the host accepts too.

So it is tested where there is no GPU: compiled with the host's compiler, it is put to the conformance kit.
What differs between host and device are the macros ``DEVICE``, ``UNROLL``, ``EACH_LANE`` and ``END_LANE``.
"""

__all__ = ["JACOBI", "JACOBI_KERNEL"]

JACOBI = r"""
template <typename R> struct Complex {
    R re, im;
    Complex() = default;  // shared memory admits no other
    DEVICE Complex(R re_, R im_ = 0) : re(re_), im(im_) {}
};
template <typename R> DEVICE Complex<R> operator+(Complex<R> x, Complex<R> y) {
    return Complex<R>(x.re + y.re, x.im + y.im);
}
template <typename R> DEVICE Complex<R> operator-(Complex<R> x, Complex<R> y) {
    return Complex<R>(x.re - y.re, x.im - y.im);
}
template <typename R> DEVICE Complex<R> operator*(Complex<R> x, Complex<R> y) {
    return Complex<R>(x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re);
}
template <typename R> DEVICE Complex<R> conjugate(Complex<R> x) { return Complex<R>(x.re, -x.im); }
template <typename R> DEVICE R real_part(Complex<R> x) { return x.re; }
template <typename R> DEVICE R magnitude(Complex<R> x) { return hypot(x.re, x.im); }
DEVICE float conjugate(float x) { return x; }
DEVICE double conjugate(double x) { return x; }
DEVICE float real_part(float x) { return x; }
DEVICE double real_part(double x) { return x; }
DEVICE float magnitude(float x) { return fabs(x); }
DEVICE double magnitude(double x) { return fabs(x); }

// What the lanes work on together; in their shared memory, or in the registers of the one lane there is.
template <int N, int LANES, typename T, typename R> struct Work {
    T a[N][N], v[N][N], turn[N / 2 + 1];
    R cosine[N / 2 + 1], sine[N / 2 + 1], first[N / 2 + 1], second[N / 2 + 1];
    int rank[N];
    R largest[LANES];
    bool flag[LANES];
};

// The pairs of one step of a sweep: N players meet in rounds, one staying in place and the others moving on
// by one, so that each pair meets once in a sweep and the pairs of a step have no player in common.
template <int N> struct Round {
    static const int PLAYERS = N + N % 2, STEPS = PLAYERS - 1, PAIRS = PLAYERS / 2;
    int p, q;
    DEVICE Round(int step, int pair) {
        int x = pair == 0 ? PLAYERS - 1 : (step + pair) % STEPS, y = (step + STEPS - pair) % STEPS;
        p = x < y ? x : y;
        q = x < y ? y : x;
    }
    DEVICE bool plays() const { return q < N; }  // with an odd number one rests
};

template <typename R> DEVICE R largest_of(const R* values, int count) {
    R largest = values[0];
    for (int k = 1; k < count; ++k) largest = values[k] > largest ? values[k] : largest;
    return largest;
}
DEVICE bool any_of(const bool* flags, int count) {
    bool any = false;
    for (int k = 0; k < count; ++k) any = any || flags[k];
    return any;
}

// One Hermitian matrix, a = v diag(l) v^H, by Jacobi rotations. With w = conj(a_pq)/|a_pq|,
//     v_p <- c v_p - s w v_q,   v_q <- s v_p + c w v_q
// makes a_pq zero. A pair is left alone when |a_pq| <= eps sqrt(|a_pp a_qq|): small eigenvalues of a graded
// matrix keep their digits. Returns whether all off-diagonal entries fell to rounding.
//
// LANES threads share the work, each phase between two barriers. On the host the lanes take turns.
// Source: Golub and Van Loan, "Matrix Computations" (2013), sections 8.5.2 and 8.5.6; Demmel and Veselic
// (1992).
template <int N, int LANES, typename T, typename R>
DEVICE bool jacobi(
    Work<N, LANES, T, R>& work, const T* input, R* values, T* vectors, int sweeps, R eps, R smallest_normal
) {
    typedef Round<N> Pairs;
    EACH_LANE {
        work.largest[lane] = 0;
        work.flag[lane] = false;
        UNROLL for (int e = lane; e < N * N; e += LANES) {
            R size = magnitude(input[e]);
            work.flag[lane] = work.flag[lane] || size - size != 0;
            work.largest[lane] = size > work.largest[lane] ? size : work.largest[lane];
        }
    } END_LANE
    const bool finite = !any_of(work.flag, LANES);
    R scale = largest_of(work.largest, LANES);
    if (!finite || scale < smallest_normal) scale = 1;
    const R most = R(0.25) / smallest_normal;  // whose reciprocal is no subnormal, which devices take for 0
    if (scale > most) scale = most;
    EACH_LANE {
        UNROLL for (int e = lane; e < N * N; e += LANES) {
            work.a[e / N][e % N] = T(1 / scale) * input[e];
            work.v[e / N][e % N] = T(R(e / N == e % N));
        }
    } END_LANE
    R remaining = 1;
    bool rotated = true;
    for (int sweep = 0; finite && rotated && sweep < sweeps; ++sweep) {
        EACH_LANE {
            work.largest[lane] = 0;
            work.flag[lane] = false;
        } END_LANE
        UNROLL for (int step = 0; step < Pairs::STEPS; ++step) {
            EACH_LANE {
                UNROLL for (int k = lane; k < Pairs::PAIRS; k += LANES) {
                    const Pairs pair(step, k);
                    work.cosine[k] = 1;
                    work.sine[k] = 0;
                    if (!pair.plays()) continue;
                    const T entry = work.a[pair.p][pair.q];
                    const R app = real_part(work.a[pair.p][pair.p]), aqq = real_part(work.a[pair.q][pair.q]);
                    const R size = magnitude(entry);
                    work.largest[lane] = size > work.largest[lane] ? size : work.largest[lane];
                    if (size <= eps * sqrt(fabs(app)) * sqrt(fabs(aqq)) || size < smallest_normal) continue;
                    work.flag[lane] = true;
                    const R theta = (aqq - app) / (2 * size);
                    const R t = (theta < 0 ? R(-1) : R(1)) / (fabs(theta) + hypot(R(1), theta));
                    work.cosine[k] = 1 / sqrt(1 + t * t);
                    work.sine[k] = t * work.cosine[k];
                    work.turn[k] = T(1 / size) * conjugate(entry);
                    work.first[k] = app - t * size;
                    work.second[k] = aqq + t * size;
                }
            } END_LANE
            EACH_LANE {
                UNROLL for (int e = lane; e < N * Pairs::PAIRS; e += LANES) {
                    const int k = e % Pairs::PAIRS, i = e / Pairs::PAIRS;
                    if (work.sine[k] == 0) continue;
                    const Pairs pair(step, k);
                    const T c = T(work.cosine[k]), s = T(work.sine[k]), w = work.turn[k];
                    T x = work.a[i][pair.p], y = w * work.a[i][pair.q];
                    work.a[i][pair.p] = c * x - s * y;
                    work.a[i][pair.q] = s * x + c * y;
                    x = work.v[i][pair.p], y = w * work.v[i][pair.q];
                    work.v[i][pair.p] = c * x - s * y;
                    work.v[i][pair.q] = s * x + c * y;
                }
            } END_LANE
            EACH_LANE {
                UNROLL for (int e = lane; e < N * Pairs::PAIRS; e += LANES) {
                    const int k = e / N, j = e % N;
                    if (work.sine[k] == 0) continue;
                    const Pairs pair(step, k);
                    const T c = T(work.cosine[k]), s = T(work.sine[k]), w = conjugate(work.turn[k]);
                    const T x = work.a[pair.p][j], y = w * work.a[pair.q][j];
                    const T zero = T(R(0));
                    work.a[pair.p][j] = j == pair.p ? T(work.first[k]) : j == pair.q ? zero : c * x - s * y;
                    work.a[pair.q][j] = j == pair.q ? T(work.second[k]) : j == pair.p ? zero : s * x + c * y;
                }
            } END_LANE
        }
        EACH_LANE {  // before any lane clears its own for the next sweep
            remaining = largest_of(work.largest, LANES);
            rotated = any_of(work.flag, LANES);
        } END_LANE
    }
    EACH_LANE {  // ascending; what is not finite has no order
        UNROLL for (int j = lane; j < N; j += LANES) {
            const R own = real_part(work.a[j][j]);
            int before = 0;
            UNROLL for (int i = 0; i < N; ++i) {
                const R other = real_part(work.a[i][i]);
                before += finite ? other < own || (other == own && i < j) : i < j;
            }
            work.rank[j] = before;
            values[before] = scale * own;
        }
    } END_LANE
    EACH_LANE {
        UNROLL for (int e = lane; e < N * N; e += LANES)
            vectors[e / N * N + work.rank[e % N]] = work.v[e / N][e % N];
    } END_LANE
    return finite && remaining <= 16 * eps;
}
"""

JACOBI_KERNEL = (
    r"""
#define DEVICE __device__ inline
#define UNROLL _Pragma("unroll(LANES == 1 ? 64 : 1)")
#define EACH_LANE { const int lane = LANES == 1 ? 0 : threadIdx.x % LANES; (void)lane;
#define END_LANE if (LANES > 1) __syncwarp(); }
"""
    + JACOBI
    + r"""
template <int N, int LANES, typename T, typename R>
__global__ void jacobi_kernel(
    const T* a, R* values, T* vectors, bool* converged, long long count, int sweeps, R eps,
    R smallest_normal
) {
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x, i = thread / LANES;
    if (i >= count) return;  // all lanes of a matrix alike
    a += i * N * N, values += i * N, vectors += i * N * N;
    bool done;
    if (LANES == 1) {
        Work<N, LANES, T, R> own;
        done = jacobi(own, a, values, vectors, sweeps, eps, smallest_normal);
    } else {
        __shared__ Work<N, LANES, T, R> shared;  // one matrix in a block
        done = jacobi(shared, a, values, vectors, sweeps, eps, smallest_normal);
    }
    if (threadIdx.x % LANES == 0) converged[i] = done;
}
"""
)
