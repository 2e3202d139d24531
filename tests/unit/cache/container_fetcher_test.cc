// SPDX-License-Identifier: MIT
// Risk: another file than the announced one is used, or a good entry is thrown away. Downloads are in tests/net.
#include "core/cache/container_fetcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "core/base/error.h"
#include "core/net/http_client.h"
#include "core/net/url.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class OfflineFetcher : public ::testing::Test {
 protected:
  TempDir dir_;
  ContainerFetcher fetcher_{
      {.packages_directory = dir_.path() / "checkouts", .urls_directory = dir_.path() / "downloads", .tokens = {}}};
  const CancelFlag never_;
  const std::string content_ = "the content of a container";
  const ContainerFetcher::Announced wanted_{sha256(content_), "http://127.0.0.1:1/a.webc", "acme/a@1.0.0"};
  const Url url_ = Url::parse("http://127.0.0.1:1/a.webc");  // nothing listens there
  std::vector<std::string> used_;                            // contents
  const ContainerFetcher::Use use_ = [this](const std::string& path) { used_.push_back(read_text(path)); };

  void store(const std::string& content) {
    const PartialEntry partial = fetcher_.packages().reserve(wanted_.hash, never_);
    std::ofstream(partial.part) << content;
    fetcher_.packages().commit(partial, open(partial.part), wanted_.hash);
  }
  fs::path store_url(const std::string& content) {
    ContainersByUrl urls(dir_.path() / "downloads");
    const PartialEntry partial = urls.reserve(url_, never_);
    std::ofstream(partial.part) << content;
    return urls.commit(partial, open(partial.part), url_, std::nullopt);
  }
  static UniqueFd open(const fs::path& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }
  template <typename Wanted>
  Error failure(const Wanted& wanted, const ContainerFetcher::Use& use) {
    try {
      static_cast<void>(fetcher_.fetch(wanted, never_, use));
    } catch (const Error& error) {
      return error;
    }
    return {ErrorCode::kInternal, "nothing was thrown"};
  }
};

TEST_F(OfflineFetcher, UsesTheEntryWithTheAnnouncedHash) {
  store(content_);
  EXPECT_EQ(fetcher_.fetch(wanted_, never_, use_), fetcher_.packages().path_of(wanted_.hash));
  EXPECT_THAT(used_, ElementsAre(content_));
}

TEST_F(OfflineFetcher, SaysThatAMissingPackageCantBeDownloaded) {
  const Error error = failure(wanted_, use_);
  EXPECT_EQ(error.code(), ErrorCode::kNetwork);
  EXPECT_THAT(error.what(), HasSubstr("isn't in the cache"));
  EXPECT_THAT(error.what(), HasSubstr(wanted_.url));
  EXPECT_THAT(used_, IsEmpty());
}

TEST_F(OfflineFetcher, SetsADamagedEntryAside) {
  const CapturedLog log;
  store("not the content");  // read-only, so that only using it shows the damage
  const Error error = failure(wanted_, [](const std::string&) { throw Error(ErrorCode::kCorrupt, "bad magic"); });
  EXPECT_EQ(error.code(), ErrorCode::kNetwork) << "another download is needed";
  EXPECT_THAT(log.text(), HasSubstr("bad magic"));
  EXPECT_FALSE(fs::exists(fetcher_.packages().path_of(wanted_.hash)));
}

TEST_F(OfflineFetcher, KeepsAnEntryThatWasPublishedBroken) {
  const CapturedLog log;
  store(content_);
  const Error error = failure(wanted_, [](const std::string&) { throw Error(ErrorCode::kCorrupt, "bad magic"); });
  EXPECT_EQ(error.message(), "bad magic");
  EXPECT_TRUE(fs::exists(fetcher_.packages().path_of(wanted_.hash)));
  EXPECT_EQ(log.text(), "");
}

TEST_F(OfflineFetcher, AnEntryThatIsRemovedMeanwhileIsMissing) {
  store(content_);
  const std::string path = fetcher_.packages().path_of(wanted_.hash);
  const Error error = failure(wanted_, [&](const std::string&) {
    fs::remove(path);
    throw Error(ErrorCode::kNotFound, "gone");
  });
  EXPECT_EQ(error.code(), ErrorCode::kNetwork);
}

TEST_F(OfflineFetcher, UsesTheFileOfTheUrlIfItHasTheAnnouncedHash) {
  const fs::path path = store_url(content_);
  EXPECT_EQ(fetcher_.fetch(wanted_, never_, use_), path.string());
  EXPECT_THAT(used_, ElementsAre(content_));
  store_url("another version");
  EXPECT_EQ(failure(wanted_, use_).code(), ErrorCode::kNetwork);
  EXPECT_THAT(used_, ElementsAre(content_));
}

TEST_F(OfflineFetcher, AnUnusableUrlIsTheRegistrysFault) {
  const ContainerFetcher::Announced wanted{wanted_.hash, "file:///etc/passwd", wanted_.name};
  EXPECT_EQ(failure(wanted, use_).code(), ErrorCode::kNetwork);
}

TEST_F(OfflineFetcher, UsesTheFileOfAUrlWhateverItsAge) {
  EXPECT_THAT(failure(url_, use_).what(), HasSubstr("isn't in the cache, and with --offline it can't be downloaded"));
  const fs::path path = store_url(content_);
  const CapturedLog log;
  EXPECT_EQ(fetcher_.fetch(url_, never_, use_).path, path.string());
  EXPECT_EQ(log.text(), "");
  fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(49));
  EXPECT_EQ(fetcher_.fetch(url_, never_, use_).path, path.string());
  EXPECT_THAT(log.text(), HasSubstr("was last checked 2 days ago"));
  EXPECT_THAT(used_, ElementsAre(content_, content_));
}

/// A user stops pkgfs, or the disk has no room for what a tarball unpacks to.
TEST_F(OfflineFetcher, BlamesNoFileForWhatItIsNotAtFaultFor) {
  store("not the content");
  const fs::path cached = fetcher_.packages().path_of(wanted_.hash);
  const fs::path of_url = store_url(content_);
  HttpClient client{HttpClient::Options{}};
  ContainerFetcher online({.packages_directory = dir_.path() / "checkouts",
                           .urls_directory = dir_.path() / "downloads",
                           .client = &client,
                           .tokens = {}});
  const CapturedLog log;
  for (const ErrorCode code : {ErrorCode::kInterrupted, ErrorCode::kFull}) {
    const auto use = [&](const std::string&) { throw Error(code, "no more"); };
    for (ContainerFetcher* fetcher : {&fetcher_, &online}) {
      try {
        (void)fetcher->fetch(url_, never_, use);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
      }
    }
    EXPECT_EQ(failure(wanted_, use).code(), code);
    EXPECT_TRUE(fs::exists(cached));
    EXPECT_TRUE(fs::exists(of_url));
  }
  EXPECT_EQ(log.text(), "");
}

/// Else a refresh would take the old file for the new one.
TEST_F(OfflineFetcher, TheVersionIsThatOfTheFileThatWasUsedLast) {
  store_url("old");
  const auto replaced = [&](int times) {
    used_.clear();
    return fetcher_.fetch(url_, never_, [&](const std::string& path) {
      use_(path);
      if (times-- > 0) {  // another process has downloaded it
        store_url("newer " + std::to_string(times));
      }
    });
  };
  EXPECT_EQ(replaced(0).version, to_hex(sha256("old")));
  EXPECT_THAT(used_, ElementsAre("old"));
  EXPECT_EQ(replaced(2).version, to_hex(sha256("newer 0")));
  EXPECT_THAT(used_, ElementsAre("old", "newer 1", "newer 0"));
  EXPECT_EQ(replaced(100).version, "") << "it is no version that a refresh finds again";
  EXPECT_LT(used_.size(), 10U);
}

TEST_F(OfflineFetcher, KeepsAnUnusableFileOfAUrlBecauseItCantBeReplaced) {
  const fs::path path = store_url(content_);
  const Error error = failure(url_, [](const std::string&) { throw Error(ErrorCode::kCorrupt, "bad magic"); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "Unable to load \"" + path.string() + "\", from \"" + url_.text() + "\"");
  EXPECT_TRUE(fs::exists(path));
}

}  // namespace
}  // namespace pkgfs::test
