// ---- where things lie ----
struct Rows {
  real *first;
  long stride;
  real *operator()(long row) const { return first + row * stride; }
};
// Hands out memory; with nothing to hand out it counts.
struct Arena {
  real *next;
  long used = 0;
  real *take(long count) {
    count = (count + LANES - 1) / LANES * LANES;
    used += count;
    return next ? next + used - count : nullptr;
  }
};
// Rows of a batch go in chunks whose sums of gradients are added in order: the number of threads
// changes nothing.
static inline long chunks(long batch) {
  long n = 1;
  while (n < 32 && batch >= 32 * n) n *= 2;
  return n;
}
static inline long padded(long units) { return (units + LANES - 1) / LANES * LANES; }

// Blocks of a matrix (depth × ld), as a product reads them:
// [lanes in groups of span][k][block][lane].
static void pack(const real *R, long ld, long depth, long units, long span,
                 const std::vector<long> &blocks, real *to) {
  const long groups = padded(units) / LANES, count = blocks.size();
  // where a group of lanes begins, and how far it is from there to the next block
  struct Group {
    real *first;
    long step;
  };
  std::vector<Group> places(groups);
  for (long g = 0; g < groups; g++) {
    const long first = g / span * span;
    real *const begin = to + (first * depth * count + g - first) * LANES;
    places[g] = {begin, std::min(span, groups - first) * LANES};
  }
  // row by row, as they lie in memory
  for (long k = 0, j = 0; k < depth; k++)
    for (long q = 0; q < count; q++, j++) {
      const real *from = R + k * ld + blocks[q] * units;
      for (long g = 0; g < groups - 1; g++)
        store(places[g].first + j * places[g].step, load(from + g * LANES));
      const Group &last = places[groups - 1];
      const long before = (groups - 1) * LANES;
      store(last.first + j * last.step, load(from + before, units - before));
    }
}
// The same blocks transposed, for the way back: [lanes in groups of span][block][k][lane].
static void pack_transposed(const real *R, long ld, long depth, long units, long span,
                            const std::vector<long> &blocks, real *to) {
  const long wide = padded(depth);
  for (long start = 0; start < wide; start += span * LANES) {
    const long lanes = std::min(span * LANES, wide - start), there = std::min(lanes, depth - start);
    for (long block : blocks) {
      const real *from = R + start * ld + block * units;
      for (long k = 0; k < units; k += SIDE)
        for (long lane = 0; lane < lanes; lane += SIDE)
          if (lane + SIDE <= there && k + SIDE <= units)
            transpose(from + lane * ld + k, ld, to + k * lanes + lane, lanes);
          else
            for (long j = k; j < std::min(k + SIDE, units); j++)
              for (long i = lane; i < lane + SIDE; i++)
                to[j * lanes + i] = i < there ? from[i * ld + j] : 0;
      to += units * lanes;
    }
  }
}

// What a cell's functions are called with; tensors are contiguous. depth: for how many steps values
// are kept. Inputs are numbers (x) or symbols, each a row of W. weights: the groups of R, then W.
// apart: from the parameters of a replica to those of the next, apart_slopes: the same of
// gradients; 0: these are contiguous, too. From slope_out on: for the way back.
struct Call {
  int64_t replicas, steps, batch, inputs, units, threads, depth, apart, apart_slopes;
  int64_t *symbols;
  real *x, *weights[GROUPS + 1], *p, *b, *start[STATES], *out, *kept, *last[STATES], *scratch;
  real *slope_out, *slope_last[STATES], *slope_x, *slope_weights[GROUPS + 1], *slope_p, *slope_b;
  real *slope_start[STATES], *partial;
  long width() const { return padded(units); }
  bool knows_symbols() const {
    for (long i = 0; symbols && i < replicas * steps * batch; i++)
      if ((uint64_t)symbols[i] >= (uint64_t)inputs) return false;
    return true;
  }
  long chunk_count() const { return chunks(batch); }
  long chunk(long i) const { return batch * i / chunk_count(); }  // its first row
  long largest() const { return (batch + chunk_count() - 1) / chunk_count(); }
};
// Where the rows of one replica lie at every step, from row `first` on.
struct Place {
  const Call &c;
  long replica, first;
  long at(long t) const { return (replica * c.steps + t) * c.batch + first; }
  const int64_t *symbols(long t) const { return c.symbols + at(t); }
  Rows x(long t) const { return {c.x + at(t) * c.inputs, c.inputs}; }
  Rows slope_x(long t) const { return {c.slope_x + at(t) * c.inputs, c.inputs}; }
  Rows slope_out(long t) const { return {c.slope_out + at(t) * c.units, c.units}; }
  Rows kept(long t) const {
    const long row = KEPT * c.width();
    return {c.kept + ((replica * c.depth + t % c.depth) * c.batch + first) * row, row};
  }
  // A state's slopes, or zeros, into padded rows.
  void read(const real *state, real *to, long rows) const {
    const long units = c.units, width = c.width();
    if (!state) {
      memset(to, 0, rows * width * sizeof(real));
      return;
    }
    for (long row = 0; row < rows; row++) {
      const real *from = state + (replica * c.batch + first + row) * units;
      for (long lane = 0; lane < width; lane += LANES)
        store(to + row * width + lane, load(from + lane, units - lane));
    }
  }
  void write(real *state, const real *from, long rows) const {
    for (long row = 0; row < rows; row++)
      memcpy(of(state)(row), from + row * c.width(), c.units * sizeof(real));
  }
  Rows of(real *state) const { return {state + (replica * c.batch + first) * c.units, c.units}; }
  Rows fresh(int state, long t) const {
    if (!state) return {c.out + at(t) * c.units, c.units};
    const Rows all = kept(t);
    return {all.first + (KEPT - STATES + state) * c.width(), all.stride};
  }
  Rows old(int state, long t) const { return t ? fresh(state, t - 1) : of(c.start[state]); }
};
// ---- calls ----
// Rows of a product's weights.
static long depth(const Call &c, const Product &p) {
  return p.operand == INPUT ? c.inputs : c.units;
}
static long packed_size(const Call &c) {
  long size = 0;
  for (const Product &p : products) size += depth(c, p) * c.width() * p.count;
  return size;
}
// Weights beyond the second cache: they are read once a step, for all rows.
static bool jointly(const Call &c) { return packed_size(c) * (long)sizeof(real) > 512 * 1024; }
static long most_rows(const Call &c) { return jointly(c) ? c.batch : c.largest(); }
// Rows and steps whose gradients are summed at once: the fewer, the fewer digits are lost.
static const long SUMMED = 64;
// Rows of a batch in all the steps whose input products are made at once; a multiple of ROWS.
static const long TOGETHER = 48;
// How many steps these are. Input products wait for nothing, and with few rows W would have to be
// fetched for each step. 0: each step makes its own.
static long steps_ahead(const Call &c) {
  if (c.symbols || 2 * c.batch > TOGETHER) return 0;
  return std::min(c.steps, TOGETHER / c.batch);
}
static long partial_size(const Call &c) { return packed_size(c) + SUMS * c.width(); }

// What a thread needs beside the tensors: packed weights, and values that live for one step, or for
// a few.
struct Work {
  std::vector<real *> weights;
  real *sums, *buffers, *slopes, *ring, *vectors, *fixed, *slope_x;
  long deep, ahead, rows, width, replica = -1;
  bool back;
  Work(const Call &c, Arena arena, bool back, long *used = nullptr) : back(back) {
    rows = most_rows(c);
    width = c.width();
    ahead = back ? 0 : steps_ahead(c);
    for (const Product &p : products) {
      const long block = back ? c.units * padded(depth(c, p)) : depth(c, p) * width;
      weights.push_back(arena.take(block * p.count));
    }
    deep = ((jointly(c) ? 2 : 1) * SUMMED + c.largest() - 1) / c.largest();
    // enough either way: who measures has no symbols yet, and with symbols nothing is made ahead
    sums = arena.take(back ? 0 : std::max(ahead * rows * width * PRES, rows * WIDEST * LANES));
    buffers = arena.take(back ? 0 : rows * width * BUFFERS);
    slopes = arena.take(back ? rows * width * (2 * STATES + SLOPES) : 0);
    ring = arena.take(back ? rows * width * RING * deep : 0);
    vectors = arena.take(back ? width * SUMS * c.chunk_count() : 0);
    fixed = arena.take(width * (SUMS - VECTORS));
    slope_x = arena.take(back ? rows * padded(c.inputs) * deep : 0);
    if (used) *used = arena.used;
  }
  void pack_weights(const Call &c, long k) {
    if (replica == k) return;
    replica = k;
    for (size_t i = 0; i < weights.size(); i++) {
      const Product &p = products[i];
      if (back && p.operand == INPUT && !c.slope_x) continue;
      const long ld = p.blocks * c.units;
      const real *from = c.weights[p.group] + k * (c.apart ? c.apart : depth(c, p) * ld);
      const std::vector<long> blocks(p.columns, p.columns + p.count);
      if (back)
        pack_transposed(from, ld, depth(c, p), c.units, columns(rows), blocks, weights[i]);
      else
        pack(from, ld, depth(c, p), c.units, span(p.pres, rows), blocks, weights[i]);
    }
  }
};
// Sums of pre-activations: of `pres`, before which come `before`, for groups of lanes from `first`
// on, at the step `later` than the first.
static real *sums_at(const Work &w, int before, int pres, long first, long count, long later) {
  if (!w.ahead) return w.sums;
  const long lanes_before = before * w.width + pres * first * LANES;
  return w.sums + (lanes_before * w.ahead + later * pres * count * LANES) * w.rows;
}
static long scratch_size(const Call &c, bool back) {
  long used;
  Work(c, {nullptr}, back, &used);
  return used;
}
// Adds `rows` of an operand times packed weights to sums, for `count` groups of lanes from `first`
// on.
static void multiply(const Call &c, const Work &w, int i, Rows operand, long rows, long first,
                     long count, int before, int pres, real *sums, bool add) {
  const Product &p = products[i];
  const long k = depth(c, p);
  const Stretch along = {k, 1, 1, p.count * count * LANES, 0, 0};
  const real *weights = w.weights[i] + first * LANES * p.count * k;
  const long vectors = p.count * count, stride = pres * count * LANES;
  real *const to = sums + (p.first - before) * count * LANES;
  product(along, rows, vectors, operand.first, operand.stride, weights, to, stride, add);
}
static void add_row(const real *from, long count, real *to, bool add) {
  for (long lane = 0; lane < count; lane += LANES)
    store(to + lane, add ? load(to + lane) + load(from + lane) : load(from + lane));
}
static void multiply_inputs(const Call &c, const Work &w, int i, const Place &place, long step,
                            long rows, long first, long count, int before, int pres, real *sums,
                            bool add) {
  if (!c.symbols)
    return multiply(c, w, i, place.x(step), rows, first, count, before, pres, sums, add);
  const Product &p = products[i];
  const long columns = p.count * count * LANES;
  const real *weights = w.weights[i] + first * LANES * p.count * c.inputs;
  for (long row = 0; row < rows; row++) {
    real *const to = sums + (p.first - before + row * pres) * count * LANES;
    add_row(weights + place.symbols(step)[row] * columns, columns, to, add);
  }
}
// The way back: slopes of pre-activations, as they lie in the ring, times the transposed weights.
static void multiply_back(const Call &c, const Work &w, int i, const real *ring, long rows,
                          real *slope, bool add) {
  const Product &p = products[i];
  const long wide = padded(depth(c, p)), groups = wide / LANES, most = columns(w.rows);
  for (long first = 0; first < groups; first += most) {
    const long count = std::min(most, groups - first);
    for (int q = 0; q < p.count; q++) {
      const Stretch along = {c.units, 1, 1, count * LANES, 0, 0};
      const real *weights = w.weights[i] + (first * p.count + q * count) * LANES * c.units;
      const real *from = ring + (p.first + q) * c.width();
      real *const to = slope + first * LANES;
      product(along, rows, count, from, RING * c.width(), weights, to, wide, add || q);
    }
  }
}
// Slopes of the inputs at the steps in the ring, of which `step` is the earliest.
static void slopes_of_inputs(const Call &c, const Work &w, const Place &place, long step,
                             const real *ring, long rows, long steps) {
  if (!c.slope_x) return;
  bool add = false;
  for (size_t i = 0; i < products.size(); i++)
    if (products[i].operand == INPUT) {
      multiply_back(c, w, i, ring, rows * steps, w.slope_x, add);
      add = true;
    }
  const real *from = w.slope_x;
  for (long t = step; add && t < step + steps; t++)
    for (long row = 0; row < rows; row++, from += padded(c.inputs))
      memcpy(place.slope_x(t)(row), from, c.inputs * sizeof(real));
}
// Gradients of the weights: operands times slopes over rows of a chunk and the steps in the ring, of
// which `step` is the earliest.
static void gather_products(const Call &c, const Work &w, const Place &place, long step,
                            const real *ring, real *partial, long start, long rows, long all_rows,
                            long steps, bool add) {
  const long width = c.width(), groups = width / LANES, row = RING * width, next = all_rows * row;
  ring += start * row;
  for (const Product &p : products) {
    const long columns = p.count * width;
    const real *slopes = ring + p.first * width;
    if (p.operand != INPUT) {
      const Stretch along = {rows, steps, row, row, next, next};
      const real *operand = ring + (PRES + p.operand) * width;
      product(along, c.units, p.count * groups, operand, 1, slopes, partial, columns, add);
    } else if (!c.symbols) {
      const Stretch along = {rows, steps, c.inputs, row, c.batch * c.inputs, next};
      const real *operand = place.x(step)(start);
      product(along, c.inputs, p.count * groups, operand, 1, slopes, partial, columns, add);
    } else {
      if (!add) memset(partial, 0, c.inputs * columns * sizeof(real));
      for (long t = 0; t < steps; t++)
        for (long r = 0; r < rows; r++) {
          real *const to = partial + place.symbols(step + t)[start + r] * columns;
          add_row(slopes + t * next + r * row, columns, to, true);
        }
    }
    partial += depth(c, p) * columns;
  }
}
// Gradients of diagonals, biases and what depends on them alone: sums over the rows of a chunk,
// added step by step; one long chain would lose digits.
static void begin_vectors(const Call &c, real *vectors, real *partial) {
  memset(vectors, 0, SUMS * c.width() * sizeof(real));
  memset(partial + partial_size(c) - SUMS * c.width(), 0, SUMS * c.width() * sizeof(real));
}
static void add_vectors(const Call &c, real *vectors, real *partial) {
  real *const to = partial + partial_size(c) - SUMS * c.width();
  for (long lane = 0; lane < SUMS * c.width(); lane += LANES) {
    store(to + lane, load(to + lane) + load(vectors + lane));
    store(vectors + lane, vec{});
  }
}
