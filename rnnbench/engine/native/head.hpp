// ---- read-out and loss ----
// Predictions x W + b of every replica, the mean of their losses, and its gradients, in one pass
// over the rows. Axes: replicas, rows (time steps and sequences), units, outputs. Rows go in slices
// whose sums are added in order: the number of threads changes nothing, nor does the company of a
// replica.
enum Loss : int64_t { MSE, BERNOULLI, CROSS_ENTROPY };
// apart_…: numbers from one replica to the next. y: classes (replicas, rows) or values (replicas,
// rows, outputs). mask: (replicas, rows), which rows count; null: all.
struct Head {
  int64_t loss, replicas, rows, units, outputs, threads;
  int64_t apart_x, apart_W, apart_b, apart_slope_W, apart_slope_b;
  const real *x, *W, *b;
  const void *y;
  const uint8_t *mask;
  real *mean, *slope_x, *slope_W, *slope_b;
  long wide() const { return (outputs + LANES - 1) / LANES * LANES; }
  long slices() const { return std::max(1l, std::min(8l, rows / 512)); }
  long padded() const { return (units + LANES - 1) / LANES * LANES; }
  const real *row(long k, long r) const { return x + k * apart_x + r * units; }
  bool counts(long k, long r) const { return !mask || mask[k * rows + r]; }
};
static const long BLOCK = 96;  // rows whose predictions stay in the first caches
// Memory that a thread keeps; what it holds is left from whatever was there.
struct Space {
  std::vector<real> all;
  real *take(size_t count) {
    if (all.size() < count) all.resize(count);
    return all.data();
  }
};

static double total(vec x) {
  double sum = 0;
  for (long i = 0; i < LANES; i++) sum += x[i];
  return sum;
}
static real largest(vec x) {
  real most = x[0];
  for (long i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
  return most;
}
static vec only(vec x, long count, real other) {
  for (long i = std::max(0l, count); i < LANES; i++) x[i] = other;
  return x;
}

// The loss of one row; its predictions become the slopes of them, times `share`.
static double mse(real *p, const real *y, long outputs, real share) {
  double sum = 0;
  const vec factor = fill(2 * share / outputs);
  for (long lane = 0; lane < outputs; lane += LANES) {
    const vec off = load(p + lane) - load(y + lane, outputs - lane);
    sum += total(off * off);
    store(p + lane, off * factor);
  }
  return sum / outputs;
}
static double bernoulli(real *p, const real *y, long outputs, real share) {
  vec sum = {};
  const vec factor = fill(share);
  for (long lane = 0; lane < outputs; lane += LANES) {
    const vec x = load(p + lane), wanted = load(y + lane, outputs - lane);
    sum += only(v_softplus(x) - x * wanted, outputs - lane, 0);
    store(p + lane, only((v_sigmoid(x) - wanted) * factor, outputs - lane, 0));
  }
  return total(sum);
}
static double cross_entropy(real *p, int64_t y, long outputs, real share) {
  const real wanted = p[y], none = -std::numeric_limits<real>::infinity();
  vec highest = fill(none);
  for (long lane = 0; lane < outputs; lane += LANES) {
    const vec x = only(load(p + lane), outputs - lane, none);
    highest = x > highest ? x : highest;
  }
  const real most = largest(highest);
  double sum = 0;
  for (long lane = 0; lane < outputs; lane += LANES) {
    const vec e = only(v_exp(load(p + lane) - most), outputs - lane, 0);
    sum += total(e);
    store(p + lane, e);
  }
  const vec factor = fill(share / sum);
  for (long lane = 0; lane < outputs; lane += LANES) store(p + lane, load(p + lane) * factor);
  p[y] -= share;
  return most + std::log(sum) - wanted;
}

// W (units × outputs), transposed, in rows of `padded` numbers.
static void turn(const real *W, long H, long C, real *to, long padded) {
  for (long j = 0; j < H; j += SIDE)
    for (long c = 0; c < C; c += SIDE)
      if (j + SIDE <= H && c + SIDE <= C)
        transpose(W + j * C + c, C, to + c * padded + j, padded);
      else
        for (long row = j; row < std::min(j + SIDE, H); row++)
          for (long column = c; column < std::min(c + SIDE, C); column++)
            to[column * padded + row] = W[row * C + column];
}

// Rows from `first` to `last` of replica k: slopes of x, and of W and b summed over these rows; the
// sum of their losses.
struct Slice {
  const Head &h;
  long k, first, last;
  real share;
  double through(const real *W, const real *turned, real *block, real *back, real *slope_W,
                 real *slope_b) const {
    const long H = h.units, C = h.outputs, wide = h.wide(), padded = h.padded();
    const Stretch over_units = {H, 1, 1, wide, 0, 0}, over_outputs = {C, 1, 1, padded, 0, 0};
    double sum = 0;
    std::fill(slope_b, slope_b + wide, 0);
    for (long r = first; r < last; r += BLOCK) {
      const long rows = std::min(BLOCK, last - r);
      const Stretch over_rows = {rows, 1, H, wide, 0, 0};
      const real *x = h.row(k, r);
      for (long i = 0; i < rows; i++) memcpy(block + i * wide, W + H * wide, wide * sizeof(real));
      product(over_units, rows, wide / LANES, x, H, W, block, wide, true);
      for (long i = 0; i < rows; i++) sum += row(r + i, block + i * wide);
      product(over_rows, H, wide / LANES, x, 1, block, slope_W, wide, r > first);
      for (long i = 0; i < rows; i++)
        for (long lane = 0; lane < wide; lane += LANES)
          store(slope_b + lane, load(slope_b + lane) + load(block + i * wide + lane));
      product(over_outputs, rows, padded / LANES, block, wide, turned, back, padded, false);
      for (long i = 0; i < rows; i++)
        memcpy(h.slope_x + (k * h.rows + r + i) * H, back + i * padded, H * sizeof(real));
    }
    return sum;
  }
  double row(long r, real *p) const {
    const long at = k * h.rows + r;
    if (!h.counts(k, r)) {
      std::fill(p, p + h.wide(), 0);
      return 0;
    }
    if (h.loss == CROSS_ENTROPY) {
      const int64_t y = static_cast<const int64_t *>(h.y)[at];
      return cross_entropy(p, y, h.outputs, share);
    }
    const real *y = static_cast<const real *>(h.y) + at * h.outputs;
    return h.loss == MSE ? mse(p, y, h.outputs, share) : bernoulli(p, y, h.outputs, share);
  }
};

// -1 if a class is none of the outputs; nothing is written then.
extern "C" int head(const Head *given) {
  const Head &h = *given;
  const long H = h.units, C = h.outputs, wide = h.wide(), padded = h.padded(), n = h.slices();
  if (h.loss == CROSS_ENTROPY)
    for (long i = 0; i < h.replicas * h.rows; i++)
      if (static_cast<const uint64_t *>(h.y)[i] >= (uint64_t)C) return -1;
  const long size = (H + 1) * wide;  // the sums of a slice: W, then b
  std::vector<double> losses(h.replicas * n), counts(h.replicas, h.rows);
  static thread_local Space kept, kept_sums;
  real *const sums = kept_sums.take(h.replicas * n * size);
  for (long k = 0; h.mask && k < h.replicas; k++) {
    long count = 0;
    for (long r = 0; r < h.rows; r++) count += h.mask[k * h.rows + r];
    counts[k] = std::max(1l, count);
  }
  parallel(h.replicas * n, h.threads, [&](long begin, long end, long) {
    real *const W = kept.take((H + 1) * wide + C * padded + BLOCK * (wide + padded));
    real *const turned = W + (H + 1) * wide;
    real *const block = turned + C * padded;
    real *const back = block + BLOCK * wide;
    for (long unit = begin, packed = -1; unit < end; unit++) {
      const long k = unit / n, slice = unit % n;
      if (packed != k) {
        const real *from = h.W + k * h.apart_W;
        for (long j = 0; j <= H; j++) {
          memcpy(W + j * wide, j < H ? from + j * C : h.b + k * h.apart_b, C * sizeof(real));
          std::fill(W + j * wide + C, W + (j + 1) * wide, 0);
        }
        turn(from, H, C, turned, padded);
        packed = k;
      }
      const real share = 1 / counts[k];
      const Slice part = {h, k, h.rows * slice / n, h.rows * (slice + 1) / n, share};
      real *const slope_W = sums + unit * size, *const slope_b = slope_W + H * wide;
      losses[unit] = part.through(W, turned, block, back, slope_W, slope_b);
    }
  });
  for (long k = 0; k < h.replicas; k++) {
    double sum = 0;
    for (long slice = 0; slice < n; slice++) sum += losses[k * n + slice];
    h.mean[k] = sum / counts[k];
    for (long j = 0; j <= H; j++) {
      real *to = j < H ? h.slope_W + k * h.apart_slope_W + j * C : h.slope_b + k * h.apart_slope_b;
      const real *from = sums + k * n * size + j * wide;
      memcpy(to, from, C * sizeof(real));
      for (long slice = 1; slice < n; slice++)
        for (long c = 0; c < C; c++) to[c] += from[slice * size + c];
    }
  }
  return 0;
}
