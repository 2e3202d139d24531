// SPDX-License-Identifier: MIT
// Risk: a login that hangs or fails keeps many threads waiting, is tried again by each of them, or goes to another
// server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "core/base/error.h"
#include "core/net/http_client.h"
#include "core/oci/authorizer.h"
#include "core/oci/reference.h"
#include "tests/support/raw_server.h"

namespace pkgfs::oci {
namespace {

using namespace std::chrono_literals;
using test::RawServer;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;
using Reply = RawServer::Reply;

std::string http_reply(const std::string& status, const std::string& body = {}, const std::string& headers = {}) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// A registry that always asks for a token; `token` answers for its server of tokens.
class OciLogin : public ::testing::Test {
 protected:
  using Find = std::function<std::optional<Credentials>(const Reference&, const CancelFlag&)>;

  OciLogin() {
    server_ = std::make_unique<RawServer>([this](const std::string& request, std::size_t) {
      if (request.find(" /v2/") != std::string::npos) {
        const bool is_in = !test::header_of(request, "Authorization").empty();
        return Reply{.bytes = is_in ? http_reply("200 OK") : http_reply("401 Unauthorized", "", challenge())};
      }
      ++tokens_;
      return token_(request);
    });
    authorizer_.add(reference("acme/app"));
  }
  [[nodiscard]] std::string challenge() const {
    return "WWW-Authenticate: Bearer realm=\"" + server_->authority() + "/token\",service=\"s\"" + scope_ + "\r\n";
  }
  [[nodiscard]] Reference reference(const std::string& repository) const {
    return Reference::parse("oci://" + server_->authority().substr(std::string("http://").size()) + "/" + repository);
  }
  [[nodiscard]] HttpRequest request(const std::string& repository = "acme/app") const {
    return {.url = Url::parse(server_->authority() + "/v2/" + repository + "/manifests/1"),
            .headers = {},
            .body = {},
            .bearer = std::nullopt};
  }
  /// What `fetch` throws; the status if it returns.
  std::string result(const HttpRequest& asked, const CancelFlag& cancel) {
    try {
      return std::to_string(client_.fetch(asked, cancel).status);
    } catch (const Error& error) {
      return error.code() == ErrorCode::kInterrupted ? "interrupted" : error.what();
    }
  }

  Find find_ = [](const Reference&, const CancelFlag&) { return std::nullopt; };
  std::function<Reply(const std::string&)> token_ = [](const std::string&) {
    return Reply{.bytes = http_reply("200 OK", R"({"token": "t"})")};
  };
  std::string scope_;
  std::atomic<int> finds_ = 0;
  std::atomic<int> tokens_ = 0;
  Authorizer authorizer_{[this](const Reference& reference, const CancelFlag& cancel) {
    ++finds_;
    return find_(reference, cancel);
  }};
  HttpClient client_{{.user_agent = "test",
                      .proxy = {},
                      .ca_file = {},
                      .stall_timeout = std::chrono::seconds(20),
                      .retry = {.first_pause = 1ms},
                      .authorizer = &authorizer_}};
  const CancelFlag never_;
  std::unique_ptr<RawServer> server_;
};

TEST_F(OciLogin, AFailureIsSharedWithThoseThatWaitAndCountsForAWhile) {
  find_ = [](const Reference&, const CancelFlag& cancel) -> std::optional<Credentials> {
    (void)cancel.wait_for(500ms);
    throw Error(ErrorCode::kPermission, "no helper");
  };
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] { failed += result(request(), never_).find("no helper") != std::string::npos ? 1 : 0; });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failed, 6);
  EXPECT_THAT(result(request(), never_), HasSubstr("no helper"));
  EXPECT_EQ(finds_, 1);
  scope_ = ",scope=\"repository:acme/app:pull\"";
  EXPECT_THAT(result(request(), never_), HasSubstr("no helper"));
  EXPECT_EQ(finds_, 2) << "another question";
}

TEST_F(OciLogin, EachThreadCanBeCancelled) {
  std::atomic<bool> entered = false;
  find_ = [&](const Reference&, const CancelFlag& cancel) -> std::optional<Credentials> {
    entered = true;
    (void)cancel.wait_for(20s);
    throw Error(ErrorCode::kInterrupted, "interrupted");
  };
  CancelFlag first;
  CancelFlag second;
  std::string first_result;
  std::string second_result;
  std::thread leader([&] { first_result = result(request(), first); });
  while (!entered) {
    std::this_thread::sleep_for(5ms);
  }
  std::thread waiter([&] { second_result = result(request(), second); });
  std::this_thread::sleep_for(200ms);
  const auto begun = Clock::now();
  second.cancel();
  waiter.join();
  EXPECT_EQ(second_result, "interrupted");
  first.cancel();
  leader.join();
  EXPECT_EQ(first_result, "interrupted");
  EXPECT_LT(Clock::now() - begun, 10s);
  find_ = [](const Reference&, const CancelFlag&) { return std::nullopt; };
  EXPECT_EQ(result(request(), never_), "200") << "an interrupted login says nothing";
}

TEST_F(OciLogin, HasTheDeadlineOfTheRequest) {
  token_ = [](const std::string&) { return Reply{.bytes = {}, .end = Reply::End::kHang}; };
  HttpRequest asked = request();
  asked.deadline = Clock::now() + 500ms;
  EXPECT_THAT(result(asked, never_), HasSubstr("The login at"));
  EXPECT_LT(Clock::now() - *asked.deadline, 10s);
}

TEST_F(OciLogin, ALostConnectionIsNotTriedAgainBySeveral) {
  token_ = [](const std::string&) { return Reply{.bytes = {}, .end = Reply::End::kReset}; };
  EXPECT_THAT(result(request(), never_), HasSubstr("The login at"));
  EXPECT_EQ(tokens_, client_.retry_policy().attempts);
}

TEST_F(OciLogin, AnIdentityTokenFollowsNoRedirect) {
  find_ = [](const Reference&, const CancelFlag&) {
    return Credentials{.username = {}, .password = {}, .identity_token = "hidden", .registry_token = {}};
  };
  RawServer other(
      [](const std::string&, std::size_t) { return Reply{.bytes = http_reply("200 OK", R"({"token": "t"})")}; });
  token_ = [&](const std::string&) {
    return Reply{.bytes = http_reply("307 Temporary Redirect", "", "Location: " + other.authority() + "/token\r\n")};
  };
  EXPECT_THAT(result(request(), never_), HasSubstr("answers 307"));
  EXPECT_TRUE(other.requests().empty());
}

TEST_F(OciLogin, ARepositoryBelowAnotherOneHasItsOwnLogin) {
  authorizer_.add(reference("acme/app/part"));
  authorizer_.add(reference("acme"));
  std::string asked;
  find_ = [&](const Reference& found, const CancelFlag&) {
    asked = found.repository();
    return std::nullopt;
  };
  for (const char* repository : {"acme/app/part", "acme", "acme/app"}) {
    EXPECT_EQ(result(request(repository), never_), "200");
    EXPECT_EQ(asked, repository);
  }
}

TEST_F(OciLogin, ToPushAsksForMoreThanTheQuestionNeeds) {
  scope_ = ",scope=\"repository:acme/app:pull repository:other:pull\"";
  std::string asked;
  token_ = [&](const std::string& request) {
    asked = request.substr(0, request.find('\r'));
    return Reply{.bytes = http_reply("200 OK", R"({"token": "t"})")};
  };
  authorizer_.add(reference("acme/app"), true);
  EXPECT_EQ(result(request(), never_), "200");
  EXPECT_THAT(asked, HasSubstr("scope=repository%3Aacme%2Fapp%3Apull%2Cpush"));
  EXPECT_THAT(asked, HasSubstr("scope=repository%3Aother%3Apull"));
  EXPECT_THAT(asked, Not(HasSubstr("app%3Apull&")));
}

}  // namespace
}  // namespace pkgfs::oci
