// ---- threads --------------------------------------------------------------------------------------------------------
// They stay: a thread that is begun anew may wait for milliseconds on the core of its parent. After work they look out for more
// for a while, then sleep. They do not survive a fork, and are never ended: the process ends with them.
struct Team {
  const pid_t home = getpid();
  const long size;
  std::function<void(long)> job;
  std::atomic<long> turn{0}, busy{0};
  std::mutex taken, door;
  std::condition_variable bell;

  explicit Team(long size) : size(size) {
    for (long thread = 1; thread < size; thread++) std::thread([this, thread] { serve(thread); }).detach();
  }
  void serve(long thread) {
    for (long seen = 0;; busy--) {
      const auto asleep = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
      while (turn == seen && std::chrono::steady_clock::now() < asleep) std::this_thread::yield();
      if (turn == seen) {
        std::unique_lock<std::mutex> lock(door);
        bell.wait(lock, [&] { return turn != seen; });
      }
      seen = turn;
      job(thread);
    }
  }
  void together(std::function<void(long)> work) {  // work(thread) on all of them, the caller being the first
    std::lock_guard<std::mutex> ours(taken);
    if (size > 1) {
      { std::lock_guard<std::mutex> lock(door); job = work, busy = size - 1, turn++; }
      bell.notify_all();
    }
    work(0);
    while (busy) std::this_thread::yield();
  }
  static Team &of(long size) {
    static std::mutex door;
    static std::map<long, Team *> teams;
    std::lock_guard<std::mutex> lock(door);
    Team *&team = teams[size];
    if (!team || team->home != getpid()) team = new Team(size);
    return *team;
  }
};
// run(first, last, thread) on equal shares of `count`. Tiny numbers count as zero: they are slow, and far below rounding.
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
