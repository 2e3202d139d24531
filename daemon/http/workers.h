// SPDX-License-Identifier: MIT
#pragma once

#include <utility>  // before Asio, which uses std::exchange without including it

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs {

/// The threads that run the handlers of an HttpServer. Unlike boost::asio::thread_pool, it makes do with fewer threads
/// if no more can be started.
class Workers {
 public:
  /// Throws Error if not a single thread can be started.
  Workers(unsigned count, const std::string& name) {
    threads_.reserve(count);
    try {
      while (threads_.size() < count) {
        threads_.emplace_back([this] { jobs_.run(); });
      }
    } catch (const std::system_error& error) {
      const Error why = start_error(name + " can't start a thread", error.code().value());
      if (threads_.empty()) {
        throw Error(why);
      }
      log::warn("{}; it has {} of {}", why.message(), threads_.size(), count);
    } catch (...) {  // no memory
      join();
      throw;
    }
  }
  ~Workers() { join(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] boost::asio::io_context& jobs() { return jobs_; }
  /// Waits for all jobs.
  void join() {
    more_.reset();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) {
        thread.join();
      }
    }
  }

 private:
  boost::asio::io_context jobs_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> more_ = boost::asio::make_work_guard(jobs_);
  std::vector<std::thread> threads_;
};

}  // namespace pkgfs
