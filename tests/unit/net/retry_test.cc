// SPDX-License-Identifier: MIT
#include "core/net/retry.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/net/http_client.h"

namespace pkgfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const RetryPolicy kQuick{.attempts = 4, .first_pause = milliseconds(1), .server_wait = seconds(2)};

TEST(Backoff, GivesUpAfterTheLastAttempt) {
  const CancelFlag never;
  Backoff backoff(kQuick, never);
  EXPECT_TRUE(backoff.again("x"));
  EXPECT_TRUE(backoff.again("x"));
  EXPECT_TRUE(backoff.again("x"));
  EXPECT_FALSE(backoff.again("x"));
}

TEST(Backoff, WaitsLessOftenForTheSilent) {
  const CancelFlag never;
  Backoff backoff(kQuick, never);
  EXPECT_TRUE(backoff.again_after_timeout(seconds(1), "x"));
  EXPECT_EQ(backoff.attempts(), 2);
  EXPECT_FALSE(backoff.again_after_timeout(seconds(1), "x"));
  Backoff impatient({.attempts = 2, .first_pause = milliseconds(1)}, never);
  EXPECT_FALSE(impatient.again_after_timeout(seconds(1), "x"));
}

TEST(Backoff, ALongSilenceIsNotWaitedForTwice) {
  const CancelFlag never;
  Backoff backoff(kQuick, never);
  EXPECT_FALSE(backoff.again_after_timeout(seconds(16), "x"));
  Backoff twice(kQuick, never);
  EXPECT_TRUE(twice.again_after_timeout(seconds(15), "x"));
}

TEST(Backoff, NoAttemptBeginsAfterTheDeadline) {
  const CancelFlag never;
  Backoff backoff({.first_pause = milliseconds(500)}, never, Backoff::Clock::now() + milliseconds(200));
  EXPECT_FALSE(backoff.again("x"));
  EXPECT_FALSE(backoff.again_after(seconds(0), "x"));
}

TEST(Backoff, StartsAnewAfterProgress) {
  const CancelFlag never;
  Backoff backoff(kQuick, never);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(backoff.again("x"));
    backoff.reset();
  }
}

TEST(Backoff, WaitsForTheServerWithinABudget) {
  const CancelFlag never;
  Backoff backoff(kQuick, never);
  EXPECT_FALSE(backoff.again_after(seconds(3), "x"));
  EXPECT_TRUE(backoff.again_after(seconds(0), "x")) << "a second, whatever the server says";
  EXPECT_TRUE(backoff.again_after(seconds(1), "x"));
  EXPECT_FALSE(backoff.again_after(seconds(1), "x"));
}

TEST(Backoff, IsInterrupted) {
  CancelFlag flag;
  flag.cancel();
  Backoff backoff({.attempts = 2, .first_pause = seconds(60)}, flag);
  EXPECT_THROW(static_cast<void>(backoff.again("x")), Error);
}

TEST(CancelFlag, FollowsTheOuterOne) {
  CancelFlag outer;
  const CancelFlag inner(&outer);
  EXPECT_FALSE(inner.is_cancelled());
  outer.cancel();
  EXPECT_TRUE(inner.is_cancelled());
}

HttpResponse response(int status, const std::string& retry_after) {
  HttpResponse made;
  made.status = status;
  made.headers["retry-after"] = retry_after;
  return made;
}

TEST(HttpResponse, RetryAfterIsANumberOrADate) {
  EXPECT_EQ(response(503, "17").retry_after(), seconds(17));
  EXPECT_EQ(response(503, "-5").retry_after(), seconds(0));
  EXPECT_EQ(response(503, "Sun, 06 Nov 1994 08:49:37 GMT").retry_after(), seconds(0));
  EXPECT_EQ(response(503, "99999999999").retry_after(), std::chrono::hours(24)) << "at most";
  EXPECT_EQ(response(503, "soon").retry_after(), std::nullopt);
  EXPECT_EQ(HttpResponse{}.retry_after(), std::nullopt);
}

TEST(HttpResponse, StatusText) {
  EXPECT_EQ(response(503, "17").status_text(), "503 Service Unavailable (Retry After: 17)");
  EXPECT_EQ(response(404, "17").status_text(), "404 Not Found");
  EXPECT_EQ(response(599, "").status_text(), "599");
}

}  // namespace
}  // namespace pkgfs::test
