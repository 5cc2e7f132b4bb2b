
// ---- calls ----
// Chunks of rows, one after the other through all of time; together where the weights would have to
// be fetched anew for each.
template <class Through>
static void every_row(const Call &c, bool back, Through through) {
  const long n = c.chunk_count(), size = scratch_size(c, back);
  parallel(c.replicas * n, c.threads, [&](long first, long last, long thread) {
    Work w(c, {c.scratch + thread * size}, back);
    for (long unit = first, end; unit < last; unit = end) {
      const long k = unit / n;
      end = jointly(c) ? std::min(last, (k + 1) * n) : unit + 1;
      if (w.replica != k) exact::fixed_values(c, {c, k, 0}, w.fixed);
      w.pack_weights(c, k);
      through(w, Place{c, k, c.chunk(unit - k * n)}, unit - k * n, end - k * n);
    }
  });
}
// Sums of gradients over the chunks of every replica, in order, from padded blocks to the shapes of
// the parameters.
static void gather(const Call &c) {
  const long H = c.units, width = c.width(), n = c.chunk_count(), size = partial_size(c);
  const long slices = std::min(H, 8l);
  auto gradient = [&](real *of, long k, long numbers) {
    return of + k * (c.apart_slopes ? c.apart_slopes : numbers);
  };
  auto sum = [&](long k, long from, long lane, real *to) {
    vec total = {};
    const real *part = c.partial + k * n * size + from + lane;
    for (long chunk = 0; chunk < n; chunk++) total += load(part + chunk * size);
    store(to + lane, total, H - lane);
  };
  parallel(c.replicas * slices, c.threads, [&](long first, long last, long) {
    for (long unit = first; unit < last; unit++) {
      const long k = unit / slices, slice = unit % slices;
      long from = 0;
      for (const Product &p : products) {
        const long rows = depth(c, p);
        real *const to = gradient(c.slope_weights[p.group], k, rows * p.blocks * H);
        for (long j = rows * slice / slices; j < rows * (slice + 1) / slices; j++)
          for (int q = 0; q < p.count; q++)
            for (long lane = 0; lane < H; lane += LANES)
              sum(k, from + (j * p.count + q) * width, lane,
                  to + (j * p.blocks + p.columns[q]) * H);
        from += rows * width * p.count;
      }
      if (slice) continue;
      real *const slope_p = gradient(c.slope_p, k, DIAGONALS * H);
      real *const slope_b = gradient(c.slope_b, k, (VECTORS - DIAGONALS) * H);
      std::vector<real> fixed((SUMS - VECTORS) * width);
      for (long v = 0; v < SUMS; v++, from += width) {
        real *to;
        if (v < DIAGONALS)
          to = slope_p + v * H;
        else if (v < VECTORS)
          to = slope_b + (v - DIAGONALS) * H;
        else
          to = fixed.data() + (v - VECTORS) * width;
        for (long lane = 0; lane < H; lane += LANES) sum(k, from, lane, to);
      }
      exact::fixed_slopes(c, {c, k, 0}, fixed.data(), slope_p, slope_b);
    }
  });
}
// Numbers of `real`: scratch of a thread forward and backward, partial sums of all chunks, what is
// kept of a row and step.
extern "C" void measure(const Call *c, int64_t *numbers) {
  numbers[0] = scratch_size(*c, false);
  numbers[1] = scratch_size(*c, true);
  numbers[2] = c->replicas * c->chunk_count() * partial_size(*c);
  numbers[3] = KEPT * c->width();
}
// What these return: 0, or -1 if a symbol is none of the inputs; nothing is computed then.
extern "C" int forward(const Call *c) {
  if (!c->knows_symbols()) return -1;
  every_row(*c, false, [&](Work &w, const Place &at, long first, long last) {
    forward_rows(*c, w, at, c->chunk(last) - c->chunk(first));
  });
  return 0;
}
extern "C" int backward(const Call *c) {
  every_row(*c, true, [&](Work &w, const Place &at, long first, long last) {
    backward_rows(*c, w, at, first, last);
  });
  gather(*c);
  return 0;
}
