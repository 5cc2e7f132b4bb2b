// ---- clipping and the optimisers ----
// One pass over the gradient of a replica for its norm, one over its parameters for the update. The
// formulas are those of engine/optimizers.py. A replica whose loss or gradient norm is not finite
// keeps parameters and state bit for bit.
enum Rule : int64_t { SGD, NESTEROV, RMSPROP, ADAM };
// apart: from the parameters (and the state) of one replica to the next. sizes: of the parts of a
// gradient, in the order in which they lie in `parameters`. strides: of the parts, from one replica
// to the next. gradients: a tensor (replicas, size) per part. numbers: (replicas, 8), see Settings.
// first: velocity or mean. second: square. count: of updates, for adam.
struct Update {
  int64_t rule, replicas, parts, threads, apart;
  const int64_t *sizes, *strides;
  const real *const *gradients;
  const real *loss;
  const double *numbers;
  real *parameters, *first, *second;
  int64_t *count;
  real *norm;
};
struct Settings {
  double rate, clip_norm, clip_value, momentum, eps, fresh, fresh2, unused;
};
static const long SUMS = 64;
typedef real *__restrict__ Own;
typedef const real *__restrict__ Given;

// In sums side by side, which a vector holds; a stretch of them at a time, so that few digits are
// lost.
static double squares(Given g, long n) {
  double total = 0;
  for (long from = 0; from < n; from += 4096) {
    real sums[SUMS] = {};
    const long to = std::min(n, from + 4096);
    long i = from;
    for (; i + SUMS <= to; i += SUMS)
      for (long s = 0; s < SUMS; s++) sums[s] += g[i + s] * g[i + s];
    for (; i < to; i++) sums[0] += g[i] * g[i];
    for (long s = 0; s < SUMS; s++) total += sums[s];
  }
  return total;
}
template <class Step>
static void every(const Update &u, long k, const Settings &s, double norm, Step step) {
  const real factor = std::isinf(s.clip_norm) ? 1 : std::min(1.0, s.clip_norm / (norm + 1e-6));
  const real most = s.clip_value;
  long at = k * u.apart;
  for (long part = 0; part < u.parts; at += u.sizes[part++]) {
    const long n = u.sizes[part];
    Given g = u.gradients[part] + k * u.strides[part];
    Own p = u.parameters + at, first = u.first + at, second = u.second + at;
    for (long i = 0; i < n; i++) {
      const real scaled = g[i] * factor;
      const real low = scaled < -most ? -most : scaled;
      step(p[i], low > most ? most : low, first[i], second[i]);
    }
  }
}
static void update_one(const Update &u, long k, const Settings &s, double norm) {
  const real rate = s.rate, momentum = s.momentum, eps = s.eps, fresh = s.fresh, fresh2 = s.fresh2;
  if (u.rule == ADAM) {
    const double t = ++u.count[k];
    const double whole = -std::expm1(t * std::log1p(-s.fresh));
    const double root = std::sqrt(-std::expm1(t * std::log1p(-s.fresh2)));
    const real small = s.eps * root, speed = s.rate * root / whole;
    return every(u, k, s, norm, [=](real &p, real g, real &mean, real &square) {
      mean += fresh * (g - mean);
      square += fresh2 * (g * g - square);
      p -= speed * (mean / (std::sqrt(square) + small));
    });
  }
  if (u.rule == RMSPROP && momentum)
    return every(u, k, s, norm, [=](real &p, real g, real &velocity, real &square) {
      square += fresh * (g * g - square);
      velocity = momentum * velocity + g / (std::sqrt(square) + eps);
      p -= rate * velocity;
    });
  if (u.rule == RMSPROP)
    return every(u, k, s, norm, [=](real &p, real g, real &, real &square) {
      square += fresh * (g * g - square);
      p -= rate * (g / (std::sqrt(square) + eps));
    });
  if (!momentum)
    return every(u, k, s, norm, [=](real &p, real g, real &, real &) { p -= rate * g; });
  if (u.rule == NESTEROV)
    return every(u, k, s, norm, [=](real &p, real g, real &velocity, real &) {
      velocity = momentum * velocity + g;
      p -= rate * (g + momentum * velocity);
    });
  every(u, k, s, norm, [=](real &p, real g, real &velocity, real &) {
    velocity = momentum * velocity + g;
    p -= rate * velocity;
  });
}
// How many replicas were left as they were.
extern "C" int update(const Update *given) {
  const Update &u = *given;
  std::atomic<int> left{0};
  parallel(u.replicas, u.threads, [&](long first, long last, long) {
    for (long k = first; k < last; k++) {
      double sum = 0;
      for (long part = 0; part < u.parts; part++)
        sum += squares(u.gradients[part] + k * u.strides[part], u.sizes[part]);
      const double norm = std::sqrt(sum);
      u.norm[k] = norm;
      if (std::isfinite(u.norm[k]) && std::isfinite(u.loss[k]))
        update_one(u, k, reinterpret_cast<const Settings *>(u.numbers)[k], norm);
      else
        left++;
    }
  });
  return left;
}
