// SPDX-License-Identifier: MIT
// Risk: while a package of a served directory is closed, which takes time, no look-up goes on.
#include "daemon/serve/package_names.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// Gives each message to a function, in the thread that writes it.
class Listening final : public spdlog::sinks::base_sink<std::recursive_mutex> {
 public:
  explicit Listening(std::function<void(std::string_view)> hear) : hear_(std::move(hear)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    hear_({message.payload.data(), message.payload.size()});
  }
  void flush_() override {}
  std::function<void(std::string_view)> hear_;
};

class LogHeard {
 public:
  explicit LogHeard(std::function<void(std::string_view)> hear) {
    auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<Listening>(std::move(hear)));
    logger->set_level(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
  }
  ~LogHeard() { spdlog::set_default_logger(before_); }
  LogHeard(const LogHeard&) = delete;
  LogHeard& operator=(const LogHeard&) = delete;

 private:
  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

class PackageNamesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    PackageBuilder package("acme/app@1.0.0");
    package.mount("/data", "data").file("data", "version", "1.0.0\n");
    fs::create_directories(registry() / "acme/app");
    package.write(registry() / "acme/app/1.0.0.webc");
  }
  [[nodiscard]] fs::path registry() const { return dir_.path() / "registry"; }
  [[nodiscard]] std::unique_ptr<PackageNames> names() {
    TreeFlags flags;
    flags.network.offline = true;
    flags.network.cache_dir = (dir_.path() / "cache").string();
    flags.network.registries = {registry().string()};
    return std::make_unique<PackageNames>(std::move(flags), "", io_);
  }

  TempDir dir_;
  std::ostringstream out_;
  std::ostringstream err_;
  Io io_{&out_, &err_, [](const char*) { return std::nullopt; }, false};
};

TEST_F(PackageNamesTest, ClosesWhatNothingWaitsForWithoutHoldingUpOthers) {
  constexpr std::uint64_t kSearch = 7;
  const std::unique_ptr<PackageNames> names = this->names();
  std::promise<std::future_status> asked;
  std::future<void> answer;  // its destructor waits for the thread
  const LogHeard log([&](std::string_view message) {
    if (message.ends_with(" is open")) {
      names->give_up(kSearch);
    } else if (message.ends_with(" is closed")) {
      answer = std::async(std::launch::async, [&] { (void)names->progress(1); });
      asked.set_value(answer.wait_for(3s));
    }
  });
  std::promise<bool> found;
  names->find(kSearch, "acme/app@1.0.0", nullptr,
              [&](vfs::ServedNames::Finding finding) { found.set_value(finding.tree != nullptr); });
  std::future<std::future_status> closed = asked.get_future();
  ASSERT_EQ(closed.wait_for(20s), std::future_status::ready) << "it isn't closed: the test shows nothing";
  EXPECT_EQ(closed.get(), std::future_status::ready) << "another thread waits until the package is closed";
  EXPECT_FALSE(found.get_future().get());
}

}  // namespace
}  // namespace pkgfs::test
