// ---- a step of many calls ----
// Inputs times what dropout leaves of them, or the same of their slopes.
struct Thinned {
  int64_t replicas, numbers;
  const real *from, *keep;
  real *to;
};
extern "C" int thin(const Thinned *t) {
  for (long i = 0; i < t->replicas * t->numbers; i++) t->to[i] = t->from[i] * t->keep[i];
  return 0;
}
// Functions called in turn for every row of a table, each with what stands in the row from `at` on.
// A negative answer ends that: `refused` says whose it was, from 1. Returns the sum of the others.
struct Turn {
  int (*function)(const int64_t *);
  int64_t at;
};
extern "C" int through(const Turn *turns, int64_t count, const int64_t *table, int64_t rows,
                       int64_t width, int64_t *refused) {
  int sum = 0;
  for (long row = 0; row < rows; row++)
    for (long i = 0; i < count; i++) {
      const int answer = turns[i].function(table + row * width + turns[i].at);
      if (answer < 0) {
        *refused = i + 1;
        return 0;
      }
      sum += answer;
    }
  return sum;
}
