// ---- threads ----
// They stay: a thread that is begun anew may wait for milliseconds on the core of its parent. After
// work they look out for more for a while, then sleep. They do not survive a fork, and are never
// ended: the process ends with them.
struct Team {
  const pid_t home = getpid();
  const long size;
  Team *const next;
  void (*call)(const void *, long) = nullptr;  // of what `work` points to
  const void *work = nullptr;
  std::atomic<long> turn{0}, busy{0};
  pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER, door = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t bell = PTHREAD_COND_INITIALIZER;

  struct Place {
    Team *team;
    long thread;
  };
  Team(long size, Team *next) : size(size), next(next) {
    for (long thread = 1; thread < size; thread++) {
      pthread_t made;
      if (pthread_create(&made, nullptr, serve, new Place{this, thread})) abort();
      pthread_detach(made);
    }
  }
  static void *serve(void *given) {
    const Place place = *static_cast<Place *>(given);
    delete static_cast<Place *>(given);
    Team &team = *place.team;
    for (long seen = 0;; team.busy--) {
      const int64_t asleep = now() + 2000000;
      while (team.turn == seen && now() < asleep) sched_yield();
      if (team.turn == seen) {
        pthread_mutex_lock(&team.door);
        while (team.turn == seen) pthread_cond_wait(&team.bell, &team.door);
        pthread_mutex_unlock(&team.door);
      }
      seen = team.turn;
      team.call(team.work, place.thread);
    }
  }
  static int64_t now() {  // in nanoseconds
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
  }
  // given(thread) on all of them, the caller being the first
  template <class Work>
  void together(const Work &given) {
    pthread_mutex_lock(&taken);
    if (size > 1) {
      pthread_mutex_lock(&door);
      call = [](const void *work, long thread) { (*static_cast<const Work *>(work))(thread); };
      work = &given;
      busy = size - 1;
      turn++;
      pthread_mutex_unlock(&door);
      pthread_cond_broadcast(&bell);
    }
    given(0);
    while (busy) sched_yield();
    pthread_mutex_unlock(&taken);
  }
  static Team &of(long size) {
    static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
    static Team *first = nullptr;
    pthread_mutex_lock(&door);
    Team *found = first;
    while (found && (found->size != size || found->home != getpid())) found = found->next;
    if (!found) {
      first = new Team(size, first);
      found = first;
    }
    pthread_mutex_unlock(&door);
    return *found;
  }
};
// run(first, last, thread) on equal shares of `count`. Tiny numbers count as zero: they are slow,
// and far below rounding.
template <class Run>
static void parallel(long count, long threads, Run run) {
  threads = std::max(1l, std::min(threads, count));
  Team::of(threads).together([&](long thread) {
#if defined(__SSE2__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    run(count * thread / threads, count * (thread + 1) / threads, thread);
    _mm_setcsr(before);
#else
    run(count * thread / threads, count * (thread + 1) / threads, thread);
#endif
  });
}
