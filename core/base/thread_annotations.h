// SPDX-License-Identifier: MIT
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

// Macros for clang's thread-safety analysis (`-Wthread-safety`). They say which mutex guards a member, and which mutex
// the caller of a function holds. Clang reports every access without the mutex. Other compilers ignore the macros.
#if defined(__clang__)
#define PKGFS_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define PKGFS_THREAD_ATTRIBUTE(x)
#endif

/// For a class that is a lock, and for a class that holds one between its constructor and its destructor.
#define PKGFS_CAPABILITY(name) PKGFS_THREAD_ATTRIBUTE(capability(name))
#define PKGFS_SCOPED_CAPABILITY PKGFS_THREAD_ATTRIBUTE(scoped_lockable)
/// For a member that is accessed only while the mutex is held. The second macro is for the object that a pointer points
/// to.
#define PKGFS_GUARDED_BY(mutex) PKGFS_THREAD_ATTRIBUTE(guarded_by(mutex))
#define PKGFS_PT_GUARDED_BY(mutex) PKGFS_THREAD_ATTRIBUTE(pt_guarded_by(mutex))
/// For a function whose caller holds the mutex, and for one whose caller doesn't hold it.
#define PKGFS_REQUIRES(...) PKGFS_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define PKGFS_EXCLUDES(...) PKGFS_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
/// For a function that locks or unlocks the mutex, or tries to lock it.
#define PKGFS_ACQUIRE(...) PKGFS_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define PKGFS_RELEASE(...) PKGFS_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define PKGFS_TRY_ACQUIRE(...) PKGFS_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
/// For a mutex that is locked only after the named ones.
#define PKGFS_ACQUIRED_AFTER(...) PKGFS_THREAD_ATTRIBUTE(acquired_after(__VA_ARGS__))
/// For a function that the analysis can't follow. A comment there says why the function is right.
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

/// Holds a Mutex until the end of its scope, as std::unique_lock does, and waits on condition variables with it. It can
/// also be the lock for a std::condition_variable_any. A predicate that reads guarded members needs an annotation:
/// `lock.wait(changed_, [this]() PKGFS_REQUIRES(mutex_) { return done_; })`.
class PKGFS_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) PKGFS_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  /// Takes over a mutex that `try_lock` has locked.
  MutexLock(Mutex& mutex, std::adopt_lock_t adopt) PKGFS_REQUIRES(mutex) : lock_(mutex.mutex_, adopt) {}
  ~MutexLock() PKGFS_RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  // To release the mutex for a while.
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
