// SPDX-License-Identifier: MIT
// Risk: a container that was fetched in parts gets an entry of the cache with the ETag of another version, or replaces
// a newer version.
#include "core/lazy/keep_complete.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>

#include "core/base/error.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/net/url.h"
#include "tests/unit/lazy/lazy_directory.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

class KeepByUrl : public ::testing::Test {
 protected:
  std::shared_ptr<SparseFile> complete(const std::string& validator) {
    auto file = SparseFile::open(PrivateDirectory::make(urls_.temporary_directory()), ContainersByUrl::key_of(url_),
                                 {.validator = validator, .size = kText.size()});
    file->write(0, std::as_bytes(std::span(kText)));
    file->mark_present({0, 1});
    return file;
  }
  void download(const std::string& text, const std::string& etag) {
    const PartialEntry partial = urls_.reserve(url_, never_);
    std::ofstream(partial.part) << text;
    const UniqueFd fd(::open(partial.part.c_str(), O_RDONLY | O_CLOEXEC));
    (void)urls_.commit(partial, fd, url_, etag);
  }
  [[nodiscard]] std::string kept() const { return read_text(urls_.path_of(url_)); }
  void expect_no_leftovers() const { EXPECT_TRUE(fs::is_empty(urls_.temporary_directory())); }

  const std::string kText = "from parts";
  TempDir dir_;
  ContainersByUrl urls_{(dir_.path() / "downloads").string()};
  const Url url_ = Url::parse("http://127.0.0.1/a.webc");
  const CancelFlag never_;
  const steady_clock::time_point long_ago_ = steady_clock::now() - std::chrono::hours(1);
};

TEST_F(KeepByUrl, KeepsTheValidator) {
  keep_by_url(urls_, url_, long_ago_, *complete("\"tag\""));
  EXPECT_EQ(kept(), kText);
  EXPECT_EQ(urls_.etag_of(url_), "\"tag\"");
  EXPECT_EQ(urls_.date_of(url_), std::nullopt);
  urls_.remove(urls_.path_of(url_));
  keep_by_url(urls_, url_, long_ago_, *complete("Sun, 06 Nov 1994 08:49:37 GMT"));
  EXPECT_EQ(urls_.etag_of(url_), std::nullopt);
  EXPECT_EQ(urls_.date_of(url_), "Sun, 06 Nov 1994 08:49:37 GMT");
  expect_no_leftovers();
}

TEST_F(KeepByUrl, LeavesAFileThatAnotherProcessHasBegunMeanwhile) {
  const auto file = complete("\"tag\"");
  fs::remove_all(urls_.temporary_directory());  // by a user
  const auto other = complete("\"tag\"");
  EXPECT_THROW(keep_by_url(urls_, url_, long_ago_, *file), Error);
  EXPECT_TRUE(fs::exists(other->path()));
  ContainersByHash packages((dir_.path() / "downloads").string());
  EXPECT_THROW(keep_by_hash(packages, sha256(kText), *file), Error);
  EXPECT_TRUE(fs::exists(other->path()));
  keep_by_url(urls_, url_, long_ago_, *other);
  EXPECT_EQ(kept(), kText);
}

TEST_F(KeepByUrl, ReplacesAnOlderVersion) {
  download("old", "\"old\"");
  for (const auto& file : fs::directory_iterator(urls_.directory())) {
    if (file.is_regular_file()) {
      fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(2));
    }
  }
  keep_by_url(urls_, url_, long_ago_, *complete("\"tag\""));
  EXPECT_EQ(kept(), kText);
  EXPECT_EQ(urls_.etag_of(url_), "\"tag\"");
  expect_no_leftovers();
}

TEST_F(KeepByUrl, LeavesANewerVersion) {
  download("new", "\"new\"");
  const auto file = complete("\"tag\"");
  keep_by_url(urls_, url_, long_ago_, *file);
  EXPECT_EQ(kept(), "new");
  EXPECT_EQ(urls_.etag_of(url_), "\"new\"");
  std::string still(kText.size(), '\0');
  EXPECT_EQ(::pread(file->fd(), still.data(), still.size(), 0), static_cast<ssize_t>(still.size()));
  EXPECT_EQ(still, kText) << "the mount that has it open can read it";
  expect_no_leftovers();
}

TEST_F(KeepByUrl, LeavesTheSameVersionThatAnotherProcessWasFasterToKeep) {
  const auto file = complete("\"tag\"");
  keep_by_url(urls_, url_, long_ago_, *file);
  const auto before = fs::last_write_time(urls_.path_of(url_));
  keep_by_url(urls_, url_, long_ago_, *file);
  EXPECT_EQ(kept(), kText);
  EXPECT_EQ(fs::last_write_time(urls_.path_of(url_)), before) << "for a mount, it would have changed";
  expect_no_leftovers();
}

TEST_F(KeepByUrl, WaitsOnlyShortlyForADownload) {
  const auto file = complete("\"tag\"");
  const PartialEntry other = urls_.reserve(url_, never_);
  try {
    keep_by_url(urls_, url_, long_ago_, *file);
    FAIL() << "another thread fills the entry";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBusy) << error.what();
  }
  EXPECT_TRUE(fs::exists(file->path()));
}

}  // namespace
}  // namespace pkgfs::test
