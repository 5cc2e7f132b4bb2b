// What all cells share: vectors of whatever width the machine has, matrix products in registers,
// threads over rows.
// The functions of one cell, emitted from its equations, follow below. REAL is float or double.
// Few headers: <condition_variable> and <functional> would take longer to read than a cell takes to
// compile. So does <immintrin.h>, which is read where a masked load is one instruction.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <limits>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#else
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif
#if defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif
typedef REAL real;
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef std::conditional<sizeof(real) == 4, int32_t, int64_t>::type integer;
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
static const long LANES = VECTOR_BYTES / sizeof(real);  // lanes of a vector
// A tile of accumulators: vectors that fit in registers.
static const int ROWS = 6;
static const int COLUMNS = VECTOR_BYTES == 64 ? 4 : 2;
// Columns of a tile with so many rows: one or two need more sums at a time, since each waits for
// its last.
constexpr int columns(long rows) { return rows <= 2 ? 4 : COLUMNS; }
// Groups of lanes side by side.
constexpr int span(int pres, long rows) {
  return pres && pres < columns(rows) ? columns(rows) / pres : 1;
}
// Rows of a panel of weights: with COLUMNS vectors each it stays in the first cache.
static const long DEPTH = 128;

#define EACH(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < n; i++)

static inline vec fill(real x) { return x - (vec){}; }
static inline vec load(const real *p) {
  vec x;
  memcpy(&x, p, sizeof x);
  return x;
}
static inline void store(real *p, vec x) { memcpy(p, &x, sizeof x); }
static inline vec load(const real *p, long units) {  // the first `units` lanes, the others zero
  if (units >= LANES) return load(p);
#if VECTOR_BYTES == 64
  if (sizeof(real) == 4) return (vec)_mm512_maskz_loadu_ps((1u << units) - 1, p);
#endif
  vec x = {};
  for (long i = 0; i < units; i++) x[i] = p[i];
  return x;
}
static inline void store(real *p, vec x, long units) {
  if (units >= LANES) return store(p, x);
#if VECTOR_BYTES == 64
  if (sizeof(real) == 4) return _mm512_mask_storeu_ps(p, (1u << units) - 1, (__m512)x);
#endif
  for (long i = 0; i < units; i++) p[i] = x[i];
}

// A square of SIDE × SIDE numbers, transposed. Short vectors: permutations of long ones take longer
// (Zen 4: 4 times).
static const int SIDE = 16 / sizeof(real);
typedef real shorter __attribute__((vector_size(16)));
// Lanes of a and b in turn, those of their first halves or of their second.
template <int half>
static inline shorter zip(shorter a, shorter b) {
#if defined(__clang__)
  shorter x;
  EACH(i, SIDE) x[i] = (i % 2 ? b : a)[half * SIDE / 2 + i / 2];
  return x;
#else
  integer from __attribute__((vector_size(16))) = {};
  EACH(i, SIDE) from[i] = half * SIDE / 2 + i / 2 + i % 2 * SIDE;
  return __builtin_shuffle(a, b, from);
#endif
}
static inline void transpose(const real *from, long from_stride, real *to, long to_stride) {
  shorter rows[SIDE], next[SIDE];
  EACH(i, SIDE) memcpy(rows + i, from + i * from_stride, sizeof *rows);
  _Pragma("GCC unroll 2") for (int round = 1; round < SIDE; round *= 2) {
    EACH(i, SIDE / 2) {
      next[2 * i] = zip<0>(rows[i], rows[SIDE / 2 + i]);
      next[2 * i + 1] = zip<1>(rows[i], rows[SIDE / 2 + i]);
    }
    EACH(i, SIDE) rows[i] = next[i];
  }
  EACH(i, SIDE) memcpy(to + i * to_stride, rows + i, sizeof *rows);
}

// ---- functions of vectors; not-a-number goes in and out ----
static inline vec each(double (*f)(double), vec x) {
  for (long i = 0; i < LANES; i++) x[i] = f(x[i]);
  return x;
}
static inline vec where(ivec yes, vec x) { return (vec)(yes & (ivec)x); }
static inline vec v_maximum(vec a, vec b) { return (a > b) | (a != a) ? a : b; }
static inline vec v_minimum(vec a, vec b) { return (a < b) | (a != a) ? a : b; }
static inline vec v_relu(vec x) { return x < 0 ? (vec){} : x; }
static inline vec v_abs(vec x) { return x < 0 ? -x : x; }
static inline vec reciprocal(vec x) {  // of what is finite and no smaller than one
#if VECTOR_BYTES == 64
  if (sizeof(real) == 4) {
    const vec guess = (vec)_mm512_rcp14_ps((__m512)x);
    return guess + guess * (1 - x * guess);
  }
#endif
  return 1 / x;
}
// x = n ln 2 + r; power: 2^n, rest: e^r - 1, from a Chebyshev fit of (e^r - 1 - r) / r² on
// |r| ≤ ln 2 / 2. |x| ≤ 87.
static inline vec expm1_parts(vec x, vec &power) {
  vec shifted = x * (real)1.44269504 + (real)12582912;  // adding 1.5 * 2^23 rounds to an integer
  vec n = shifted - (real)12582912;
  vec r = x - n * (real)0.693359375 + n * (real)2.12194440e-4;
  power = (vec)((__builtin_convertvector(n, ivec) + 127) << 23);
  vec p = r * (real)1.392618359e-3 + (real)8.363179053e-3;
  p = p * r + (real)4.166655461e-2;
  p = p * r + (real)0.1666657699;
  p = p * r + (real)0.5;
  return p * r * r + r;
}
static inline vec clamped(vec x, real most) {
#if VECTOR_BYTES == 64
  // one instruction each, and the second argument wins where one is not a number
  if (sizeof(real) == 4) {
    const __m512 below = _mm512_min_ps(_mm512_set1_ps(most), (__m512)x);
    return (vec)_mm512_max_ps(_mm512_set1_ps(-most), below);
  }
#endif
  x = x > most ? fill(most) : x;
  return x < -most ? fill(-most) : x;
}
static inline vec bounded_exp(vec x) {
  vec power;
  vec rest = expm1_parts(clamped(x, 87), power);
  return power * rest + power;
}
static inline vec v_exp(vec x) {
  if (sizeof(real) == 8) return each(exp, x);
  vec root = bounded_exp(x * (real)0.5);
  return root * root;
}
static inline vec v_sigmoid(vec x) {
  return sizeof(real) == 8 ? 1 / (1 + each(exp, -x)) : reciprocal(1 + bounded_exp(-x));
}
static inline vec v_tanh(vec x) {
  if (sizeof(real) == 8) return each(tanh, x);
  vec power;
  vec rest = expm1_parts(clamped(2 * x, 20), power);
  vec e = power * rest + (power - 1);  // exact where x is small
  return e * reciprocal(e + 2);
}
static inline vec log1p_exp(vec x) {  // ln(1 + e^x) of x ≤ 0
  if (sizeof(real) == 8) return each(log1p, each(exp, x));
  vec u = bounded_exp(x);
  vec s = u / (2 + u);  // ln(1 + u) = 2 artanh(s), s ≤ 1/3
  vec q = s * s;
  vec p = q * (real)(2. / 15) + (real)(2. / 13);
  p = p * q + (real)(2. / 11);
  p = p * q + (real)(2. / 9);
  p = p * q + (real)(2. / 7);
  p = p * q + (real)(2. / 5);
  p = p * q + (real)(2. / 3);
  return p * q * s + 2 * s;
}
static inline vec v_softplus(vec x) { return v_relu(x) + log1p_exp(-v_abs(x)); }
static inline vec v_pow(vec a, vec b) {
  for (long i = 0; i < LANES; i++) a[i] = pow(a[i], b[i]);
  return a;
}
static inline vec v_logsigmoid(vec x) { return -v_softplus(-x); }

// The same of one number in double precision: for what is computed once, and whose rounding every
// step and row would share.
namespace exact {
typedef double vec;
static inline vec load(const real *p, long = 0) { return *p; }
static inline void store(real *p, vec x, long = 0) { *p = x; }
static inline vec fill(double x) { return x; }
static inline vec each(double (*f)(double), vec x) { return f(x); }
static inline vec where(bool yes, vec x) { return yes ? x : 0; }
static inline vec v_maximum(vec a, vec b) { return a > b || a != a ? a : b; }
static inline vec v_minimum(vec a, vec b) { return a < b || a != a ? a : b; }
static inline vec v_relu(vec x) { return x < 0 ? 0 : x; }
static inline vec v_abs(vec x) { return fabs(x); }
static inline vec v_exp(vec x) { return exp(x); }
static inline vec v_sigmoid(vec x) { return 1 / (1 + exp(-x)); }
static inline vec v_tanh(vec x) { return tanh(x); }
static inline vec v_softplus(vec x) { return v_relu(x) + log1p(exp(-fabs(x))); }
static inline vec v_pow(vec a, vec b) { return pow(a, b); }
static inline vec v_logsigmoid(vec x) { return -v_softplus(-x); }
}  // namespace exact

// ---- products ----
// Where A and B lie along k: `runs` stretches of `depth`; from one k to the next, a and b; from one
// stretch to the next, next_a and next_b.
struct Stretch {
  long depth, runs, a, b, next_a, next_b;
};
// C[m][n] (+)= sum over k of A[m][k] B[k][n] in a tile of M rows and N vectors.
template <int M, int N>
static void tile(const Stretch &s, const real *A, long am, const real *B, real *C, long cm,
                 bool add) {
  vec c[M][N];
  EACH(m, M)
    EACH(n, N) c[m][n] = (vec){};
  for (long run = 0; run < s.runs; run++, A += s.next_a, B += s.next_b) {
    const real *a = A, *b = B;
    for (long k = 0; k < s.depth; k++, a += s.a, b += s.b) {
      vec row[N];
      EACH(n, N) row[n] = load(b + n * LANES);
      EACH(m, M) {
        const real x = a[m * am];
        EACH(n, N) c[m][n] += x * row[n];
      }
    }
  }
  if (add)
    EACH(m, M)
      EACH(n, N) c[m][n] += load(C + m * cm + n * LANES);
  EACH(m, M)
    EACH(n, N) store(C + m * cm + n * LANES, c[m][n]);
}
typedef void (*Tile)(const Stretch &, const real *, long, const real *, real *, long, bool);
// clang-format off
#define TILES(M) {tile<M, 1>, tile<M, 2>, tile<M, columns(M) == 4 ? 3 : 1>, tile<M, columns(M)>}
// clang-format on
static const Tile tiles[ROWS][4] = {TILES(1), TILES(2), TILES(3), TILES(4), TILES(5), TILES(6)};

// A tile after the other: all rows of A with as many vectors of B as a tile has.
static void column(const Stretch &s, long rows, long vectors, const real *A, long am, const real *B,
                   real *C, long cm, bool add) {
  const long count = (rows + ROWS - 1) / ROWS;
  for (long i = 0, m = 0; i < count; i++) {
    const long next = rows * (i + 1) / count;
    tiles[next - m - 1][vectors - 1](s, A + m * am, am, B, C + m * cm, cm, add);
    m = next;
  }
}
// Any number of vectors and any depth, cut so that a panel of B stays in the first cache while all
// rows use it.
static void product(Stretch s, long rows, long vectors, const real *A, long am, const real *B,
                    real *C, long cm, bool add) {
  const long widest = columns(rows);
  const bool one_tile = rows <= ROWS && vectors <= widest && s.runs == 1;
  if (one_tile) return tiles[rows - 1][vectors - 1](s, A, am, B, C, cm, add);
  const bool nothing_between = s.next_a == s.depth * s.a && s.next_b == s.depth * s.b;
  if (nothing_between) {
    s.depth *= s.runs;
    s.runs = 1;
  }
  const long parts = (vectors + widest - 1) / widest;
  const long panels = s.runs > 1 ? 1 : (s.depth + DEPTH - 1) / DEPTH;
  for (long i = 0, n = 0; i < parts; i++) {
    const long next = vectors * (i + 1) / parts;
    for (long j = 0, k = 0; j < panels; j++) {
      const long end = s.depth * (j + 1) / panels;
      const Stretch part = {end - k, s.runs, s.a, s.b, s.next_a, s.next_b};
      const real *b = B + k * s.b + n * LANES;
      column(part, rows, next - n, A + k * s.a, am, b, C + n * LANES, cm, add || k);
      k = end;
    }
    n = next;
  }
}
