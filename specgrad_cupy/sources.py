"""Bodies of the CUDA kernels, as plain C++ that a compiler for the host accepts too.

So their arithmetic is tested where there is no GPU: compiled with the host's compiler, they are compared
with the conformance kit and with the formulas of the core.
"""

__all__ = ["JACOBI", "JACOBI_KERNEL", "PAIR_BODIES"]

JACOBI = r"""
#ifdef __CUDACC__
#define DEVICE __device__ inline
#else
#define DEVICE inline
#include <cmath>
using namespace std;
#endif

template <typename R> struct Complex {
    R re, im;
    DEVICE Complex(R re_ = 0, R im_ = 0) : re(re_), im(im_) {}
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

// One Hermitian matrix, a = v diag(l) v^H, by cyclic Jacobi rotations. With w = conj(a_pq)/|a_pq|,
//     v_p <- c v_p - s w v_q,   v_q <- s v_p + c w v_q
// makes a_pq zero. A pair is left alone when |a_pq| <= eps sqrt(|a_pp a_qq|): small eigenvalues of a graded
// matrix keep their digits. Returns whether all off-diagonal entries fell to rounding.
// Source: Golub and Van Loan, "Matrix Computations" (2013), section 8.5; Demmel and Veselic (1992).
template <int N, typename T, typename R>
DEVICE bool jacobi(const T* input, R* values, T* vectors, int sweeps, R eps, R smallest_normal) {
    T a[N][N], v[N][N];
    R scale = 0;
    bool finite = true;
    for (int i = 0; i < N * N; ++i) {
        R size = magnitude(input[i]);
        finite = finite && size - size == 0;
        scale = size > scale ? size : scale;
    }
    if (!finite || scale < smallest_normal) scale = 1;
    R down = 1 / scale;
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
            a[i][j] = T(down) * input[i * N + j];
            v[i][j] = T(R(i == j));
        }
    R largest = 1;
    bool rotated = true;
    for (int sweep = 0; rotated && sweep < sweeps; ++sweep) {
        rotated = false;
        largest = 0;
        for (int p = 0; p < N - 1; ++p)
            for (int q = p + 1; q < N; ++q) {
                R size = magnitude(a[p][q]), app = real_part(a[p][p]), aqq = real_part(a[q][q]);
                largest = size > largest ? size : largest;
                if (size <= eps * sqrt(fabs(app)) * sqrt(fabs(aqq)) || size < smallest_normal) continue;
                rotated = true;
                R theta = (aqq - app) / (2 * size);
                R t = (theta < 0 ? R(-1) : R(1)) / (fabs(theta) + hypot(R(1), theta));
                T c = T(1 / sqrt(1 + t * t)), s = T(t) * c;
                T w = T(1 / size) * conjugate(a[p][q]);
                for (int k = 0; k < N; ++k) {
                    T x = a[k][p], y = w * a[k][q];
                    a[k][p] = c * x - s * y;
                    a[k][q] = s * x + c * y;
                    x = v[k][p], y = w * v[k][q];
                    v[k][p] = c * x - s * y;
                    v[k][q] = s * x + c * y;
                }
                for (int k = 0; k < N; ++k) {
                    T x = a[p][k], y = conjugate(w) * a[q][k];
                    a[p][k] = c * x - s * y;
                    a[q][k] = s * x + c * y;
                }
                a[p][q] = a[q][p] = T(R(0));
                a[p][p] = T(app - t * size);
                a[q][q] = T(aqq + t * size);
            }
    }
    bool taken[N] = {};
    for (int k = 0; k < N; ++k) {  // ascending
        int least = -1;
        for (int j = 0; j < N; ++j)
            if (!taken[j] && (least < 0 || real_part(a[j][j]) < real_part(a[least][least]))) least = j;
        taken[least] = true;
        values[k] = scale * real_part(a[least][least]);
        for (int j = 0; j < N; ++j) vectors[j * N + k] = v[j][least];
    }
    return finite && largest <= 16 * eps;
}
"""

JACOBI_KERNEL = (
    JACOBI
    + r"""
template <int N, typename T, typename R>
__global__ void jacobi_kernel(
    const T* a, R* values, T* vectors, bool* converged, long long count, int sweeps, R eps,
    R smallest_normal
) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < count)
        converged[i] = jacobi<N, T, R>(
            a + i * N * N, values + i * N, vectors + i * N * N, sweeps, eps, smallest_normal);
}
"""
)

# For one pair of eigenvalues x = l_i, y = l_j, what stands for 1/(y - x), from the parameter of the rule and
# the width of a tie; `scale` is the largest magnitude of the spectrum.
PAIR_BODIES = {
    "MaskedGap": r"""
        T gap = y - x;
        T width = parameter * scale + smallest;
        width = tie_width > width ? tie_width : width;
        k = fabs(gap) > width ? 1 / gap : T(0);
    """,
    "BroadenedGap": r"""
        T gap = (y - x) / scale;
        T pair = gap / (gap * gap + parameter * parameter) / scale;
        k = fabs(y - x) > tie_width ? pair : T(0);
    """,
    "ClippedGap": r"""
        T gap = y - x;
        T pair = fabs(gap) * parameter > 1 ? 1 / gap : (gap > 0 ? parameter : -parameter);
        k = fabs(gap) > tie_width && gap != 0 ? pair : T(0);
    """,
}
