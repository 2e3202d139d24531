// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

// Clang's thread-safety analysis (`-Wthread-safety`): members say which mutex guards them, functions say which mutex
// their caller holds, and clang reports every access without it. Other compilers ignore the macros.
#if defined(__clang__)
#define PKGFS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define PKGFS_THREAD_ATTRIBUTE(x)
#endif

/// A class that is a lock, and a class that holds one between its constructor and its destructor.
#define PKGFS_CAPABILITY(name) PKGFS_THREAD_ATTRIBUTE(capability(name))
#define PKGFS_SCOPED_CAPABILITY PKGFS_THREAD_ATTRIBUTE(scoped_lockable)
/// A member that is accessed only under that mutex; for a pointer, what it points to.
#define PKGFS_GUARDED_BY(mutex) PKGFS_THREAD_ATTRIBUTE(guarded_by(mutex))
#define PKGFS_PT_GUARDED_BY(mutex) PKGFS_THREAD_ATTRIBUTE(pt_guarded_by(mutex))
/// A function whose caller holds the mutex, or doesn't hold it.
#define PKGFS_REQUIRES(...) PKGFS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define PKGFS_EXCLUDES(...) PKGFS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
/// A function that locks or unlocks the mutex.
#define PKGFS_ACQUIRE(...) PKGFS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define PKGFS_RELEASE(...) PKGFS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define PKGFS_TRY_ACQUIRE(...) PKGFS_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
/// A mutex that is locked after these.
#define PKGFS_ACQUIRED_AFTER(...) PKGFS_THREAD_ATTRIBUTE(acquired_after(__VA_ARGS__))
/// A function that the analysis can't follow; a comment says why it is right.
#define PKGFS_NO_THREAD_SAFETY_ANALYSIS PKGFS_THREAD_ATTRIBUTE(no_thread_safety_analysis)

namespace pkgfs {

/// A std::mutex that clang's analysis knows; libstdc++'s own isn't annotated. Costs nothing over it.
class PKGFS_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() PKGFS_ACQUIRE() { mutex_.lock(); }
  void unlock() PKGFS_RELEASE() { mutex_.unlock(); }
  [[nodiscard]] bool try_lock() PKGFS_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

/// Holds a Mutex until its end of scope, as std::unique_lock does, and waits on condition variables with it. The lock
/// of std::condition_variable_any, too. A predicate that reads guarded members says so:
/// `lock.wait(changed_, [this]() PKGFS_REQUIRES(mutex_) { return done_; })`.
class PKGFS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PKGFS_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  /// Takes over a mutex that `try_lock` has locked.
  MutexLock(Mutex& mutex, std::adopt_lock_t adopt) PKGFS_REQUIRES(mutex) : lock_(mutex.mutex_, adopt) {}
  ~MutexLock() PKGFS_RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  // To let go of the mutex for a while.
  void unlock() PKGFS_RELEASE() { lock_.unlock(); }
  void lock() PKGFS_ACQUIRE() { lock_.lock(); }

  // As the functions of std::condition_variable; the mutex is held again when they return.
  void wait(std::condition_variable& condition) { condition.wait(lock_); }
  template <typename Predicate>
  void wait(std::condition_variable& condition, Predicate&& predicate) {
    condition.wait(lock_, std::forward<Predicate>(predicate));
  }
  template <typename Duration>
  std::cv_status wait_for(std::condition_variable& condition, const Duration& duration) {
    return condition.wait_for(lock_, duration);
  }
  template <typename Duration, typename Predicate>
  bool wait_for(std::condition_variable& condition, const Duration& duration, Predicate&& predicate) {
    return condition.wait_for(lock_, duration, std::forward<Predicate>(predicate));
  }
  template <typename TimePoint>
  std::cv_status wait_until(std::condition_variable& condition, const TimePoint& time) {
    return condition.wait_until(lock_, time);
  }
  template <typename TimePoint, typename Predicate>
  bool wait_until(std::condition_variable& condition, const TimePoint& time, Predicate&& predicate) {
    return condition.wait_until(lock_, time, std::forward<Predicate>(predicate));
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

}  // namespace pkgfs
