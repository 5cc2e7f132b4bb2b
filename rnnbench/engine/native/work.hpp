// ---- where things lie -----------------------------------------------------------------------------------------------
struct Rows { real *first; long stride; real *operator()(long row) const { return first + row * stride; } };
struct Arena {  // hands out memory; with nothing to hand out it counts
  real *next; long used = 0;
  real *take(long count) {
    count = (count + LANES - 1) / LANES * LANES, used += count;
    return next ? next + used - count : nullptr;
  }
};
// Rows of a batch go in chunks whose sums of gradients are added in order: the number of threads changes nothing.
static inline long chunks(long batch) { long n = 1; while (n < 32 && batch >= 32 * n) n *= 2; return n; }
static inline long padded(long units) { return (units + LANES - 1) / LANES * LANES; }

// Blocks of a matrix (units × ld), as a product reads them: [lanes in groups of span][k][block][lane].
static void pack(const real *R, long ld, long units, long span, std::vector<long> blocks, real *to) {
  for (long first = 0, groups = padded(units) / LANES; first < groups; first += span)
    for (long k = 0; k < units; k++)
      for (long block : blocks)
        for (long g = first; g < std::min(first + span, groups); g++, to += LANES)
          store(to, load(R + k * ld + block * units + g * LANES, units - g * LANES));
}
// The same blocks transposed, for the way back: [lanes in groups of span][block][k][lane].
static void pack_transposed(const real *R, long ld, long units, long span, std::vector<long> blocks, real *to) {
  for (long first = 0, groups = padded(units) / LANES; first < groups; first += span) {
    const long lanes = (std::min(first + span, groups) - first) * LANES, start = first * LANES;
    for (long block : blocks) {
      for (long i = 0; i < lanes; i++)
        for (long k = 0; k < units; k++) to[k * lanes + i] = start + i < units ? R[(start + i) * ld + block * units + k] : 0;
      to += units * lanes;
    }
  }
}

// What a cell's functions are called with; tensors are contiguous. depth: for how many steps values are kept.
struct Call {
  int64_t replicas, steps, batch, units, threads, depth;
  real *wx, *R[GROUPS + 1], *p, *b, *start[STATES], *out, *kept, *last[STATES], *scratch;
  real *slope_out, *slope_last[STATES], *slope_wx, *slope_R[GROUPS + 1], *slope_p, *slope_b, *slope_start[STATES], *partial;  // backward
  long width() const { return padded(units); }
  long chunk_count() const { return chunks(batch); }
  long chunk(long i) const { return batch * i / chunk_count(); }  // its first row
  long largest() const { return (batch + chunk_count() - 1) / chunk_count(); }
};
// Where the rows of one replica lie at every step, from row `first` on.
struct Place {
  const Call &c; long replica, first;
  long at(long t) const { return (replica * c.steps + t) * c.batch + first; }
  Rows wx(long t) const { return {c.wx + at(t) * INPUTS * c.units, INPUTS * c.units}; }
  Rows slope_wx(long t) const { return {c.slope_wx + at(t) * INPUTS * c.units, INPUTS * c.units}; }
  Rows slope_out(long t) const { return {c.slope_out + at(t) * c.units, c.units}; }
  Rows kept(long t) const {
    return {c.kept + ((replica * c.depth + t % c.depth) * c.batch + first) * KEPT * c.width(), KEPT * c.width()};
  }
  void read(const real *state, real *to, long rows) const {  // a state's slopes, or zeros, into padded rows
    const long units = c.units, width = c.width();
    for (long row = 0; row < rows; row++)
      for (long lane = 0; lane < width; lane += LANES)
        store(to + row * width + lane, state ? load(state + (replica * c.batch + first + row) * units + lane, units - lane) : vec{});
  }
  void write(real *state, const real *from, long rows) const {
    for (long row = 0; row < rows; row++) memcpy(of(state)(row), from + row * c.width(), c.units * sizeof(real));
  }
  Rows of(real *state) const { return {state + (replica * c.batch + first) * c.units, c.units}; }
  Rows fresh(int state, long t) const {
    if (!state) return {c.out + at(t) * c.units, c.units};
    const Rows all = kept(t);
    return {all.first + (KEPT - STATES + state) * c.width(), all.stride};
  }
  Rows old(int state, long t) const { return t ? fresh(state, t - 1) : of(c.start[state]); }
};
// ---- calls ----------------------------------------------------------------------------------------------------------
// run(first, last, thread) on equal shares of `count`. Tiny numbers count as zero: they are slow, and far below rounding.
template <class Run>
static void parallel(long count, long threads, Run run) {
  threads = std::max(1l, std::min(threads, count));
  auto share = [&](long thread) {
#if defined(__SSE2__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    run(count * thread / threads, count * (thread + 1) / threads, thread);
    _mm_setcsr(before);
#else
    run(count * thread / threads, count * (thread + 1) / threads, thread);
#endif
  };
  std::vector<std::thread> others;
  for (long thread = 1; thread < threads; thread++) others.emplace_back(share, thread);
  share(0);
  for (std::thread &other : others) other.join();
}

static long packed_size(const Call &c) {
  long size = 0;
  for (const Product &p : products) size += c.units * c.width() * p.count;
  return size;
}
static bool jointly(const Call &c) { return packed_size(c) * (long)sizeof(real) > 512 * 1024; }  // weights beyond the second cache: read them once a step
static const long SUMMED = 64;  // rows and steps whose gradients are summed at once: the fewer, the fewer digits are lost
static long most_rows(const Call &c) { return jointly(c) ? c.batch : c.largest(); }
static long partial_size(const Call &c) { return packed_size(c) + VECTORS * c.width(); }

// What a thread needs beside the tensors: packed weights, and values that live for one step, or for a few.
struct Work {
  std::vector<real *> weights;
  real *sums, *buffers, *slopes, *ring, *vectors;
  long deep, replica = -1;
  bool back;
  Work(const Call &c, Arena arena, bool back, long *used = nullptr) : back(back) {
    const long rows = most_rows(c), width = c.width();
    for (const Product &p : products) weights.push_back(arena.take(c.units * width * p.count));
    deep = ((jointly(c) ? 2 : 1) * SUMMED + c.largest() - 1) / c.largest();
    sums = arena.take(back ? 0 : rows * WIDEST * LANES);
    buffers = arena.take(back ? 0 : rows * width * BUFFERS);
    slopes = arena.take(back ? rows * width * (2 * STATES + SLOPES) : 0);
    ring = arena.take(back ? rows * width * RING * deep : 0);
    vectors = arena.take(back ? width * VECTORS * c.chunk_count() : 0);
    if (used) *used = arena.used;
  }
  void pack_weights(const Call &c, long k) {
    if (replica == k) return;
    replica = k;
    for (size_t i = 0; i < weights.size(); i++) {
      const Product &p = products[i];
      const long ld = p.blocks * c.units;
      const real *R = c.R[p.group] + k * c.units * ld;
      const std::vector<long> columns(p.columns, p.columns + p.count);
      if (back) pack_transposed(R, ld, c.units, COLUMNS, columns, weights[i]);
      else pack(R, ld, c.units, p.span, columns, weights[i]);
    }
  }
};
static long scratch_size(const Call &c, bool back) {
  long used;
  Work(c, {nullptr}, back, &used);
  return used;
}
// The sums of a stage: `rows` of an operand times packed weights, for `count` groups of lanes from `first` on.
static void multiply(const Call &c, const Work &w, int i, Rows operand, long rows, long first, long count, int before, int pres, bool add) {
  const Product &p = products[i];
  const Stretch along = {c.units, 1, 1, p.count * count * LANES, 0, 0};
  real *sums = w.sums + (p.first - before) * count * LANES;
  product(along, rows, p.count * count, operand.first, operand.stride, w.weights[i] + first * LANES * p.count * c.units, sums, pres * count * LANES, add);
}
// The way back: slopes of pre-activations, as they lie in the ring, times the transposed weights.
static void multiply_back(const Call &c, const Work &w, int i, const real *ring, long rows, real *slope, bool add) {
  const Product &p = products[i];
  const long width = c.width(), groups = width / LANES;
  for (long first = 0; first < groups; first += COLUMNS) {
    const long count = std::min<long>(COLUMNS, groups - first);
    for (int q = 0; q < p.count; q++) {
      const real *weights = w.weights[i] + (first * p.count + q * count) * LANES * c.units;
      product({c.units, 1, 1, count * LANES, 0, 0}, rows, count, ring + (p.first + q) * width, RING * width, weights, slope + first * LANES, width, add || q);
    }
  }
}
// Gradients of the weights: operands times slopes over all rows of a chunk and all steps in the ring.
static void gather_products(const Call &c, const Work &w, real *partial, long start, long rows, long all_rows, long steps, bool add) {
  const long width = c.width(), row = RING * width;
  const real *ring = w.ring + start * row;
  for (const Product &p : products) {
    const Stretch along = {rows, steps, row, row, all_rows * row, all_rows * row};
    const long columns = p.count * width;
    product(along, c.units, columns / LANES, ring + (PRES + p.operand) * width, 1, ring + p.first * width, partial, columns, add);
    partial += c.units * columns;
  }
}
// Gradients of diagonals and biases: sums over the rows of a chunk, added step by step; one long chain would lose digits.
static void begin_vectors(const Call &c, real *vectors, real *partial) {
  memset(vectors, 0, VECTORS * c.width() * sizeof(real));
  memset(partial + partial_size(c) - VECTORS * c.width(), 0, VECTORS * c.width() * sizeof(real));
}
static void add_vectors(const Call &c, real *vectors, real *partial) {
  real *const to = partial + partial_size(c) - VECTORS * c.width();
  for (long lane = 0; lane < VECTORS * c.width(); lane += LANES) {
    store(to + lane, load(to + lane) + load(vectors + lane));
    store(vectors + lane, vec{});
  }
}
