// SPDX-License-Identifier: MIT
// Risk: the network that tests and benchmarks measure with loses bytes, or isn't as slow as it says.
#include "tests/support/slow_proxy/slow_proxy.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <vector>

#include "core/base/unique_fd.h"
#include "tests/net/curl.h"
#include "tests/support/http.h"
#include "tests/support/process.h"
#include "tests/support/raw_server.h"

namespace pkgfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr int kRefused = 7;  // exit codes of curl
constexpr int kTimedOut = 28;
constexpr int kReset = 56;

std::string content(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) {
    text += std::to_string(i) + " ";
  }
  return text.substr(0, size);
}

/// A server that sends `content` and closes.
RawServer::Answer sends(const std::string& content) {
  return [&content](const std::string&, std::size_t) {
    return RawServer::Reply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(content.size()) +
                                     "\r\nConnection: close\r\n\r\n" + content};
  };
}

TEST(SlowProxy, BytesAreRightAndLateAndCounted) {
  const std::string small = content(100);
  const RawServer server(sends(small));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(200), .mbit = 0});
  const auto begun = Clock::now();
  EXPECT_EQ(curl({proxy.authority()}).body, small);
  EXPECT_GE(Clock::now() - begun, milliseconds(400)) << "a round trip for the connection, one for the request";
  EXPECT_EQ(server.requests().size(), 1U);
  EXPECT_TRUE(eventually([&] { return proxy.counts().open == 0; }));
  const SlowProxy::Counts counts = proxy.counts();
  EXPECT_EQ(counts.connections, 1U);
  EXPECT_EQ(counts.most_open, 1U);
  EXPECT_EQ(counts.up, server.requests().at(0).size());
  EXPECT_GT(counts.down, small.size());
  EXPECT_LT(counts.down, small.size() + 200);
}

TEST(SlowProxy, ConnectionsShareTheRate) {
  const std::string large = content(500'000);
  const RawServer server(sends(large));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(2), .mbit = 16});
  const auto begun = Clock::now();
  std::vector<std::future<Reply>> replies;
  for (int i = 0; i < 4; ++i) {
    replies.push_back(std::async(std::launch::async, [&] { return curl({proxy.authority()}); }));
  }
  for (auto& reply : replies) {
    EXPECT_TRUE(reply.get().body == large);
  }
  EXPECT_GE(Clock::now() - begun, milliseconds(950)) << "two million bytes at two million a second";
}

TEST(SlowProxy, AReceiverThatReadsNothingFillsNoMemory) {
  const std::string large(60'000'000, 'x');  // more than the buffers of the sockets take
  const RawServer server(sends(large));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(4), .mbit = 0});
  const UniqueFd client = connect_to(proxy.address());
  const std::string request = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_EQ(::send(client.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  SlowProxy::Counts before;
  EXPECT_TRUE(eventually(
      [&] {
        const SlowProxy::Counts now = proxy.counts();
        sleep_ms(200);
        before = proxy.counts();
        return now.down > 0 && now.waiting > 0 && before.down == now.down && before.waiting == now.waiting;
      },
      seconds(20)));
  EXPECT_LE(before.waiting, (4U << 20U) + (16U << 10U));
}

TEST(SlowProxy, SlowReceiversHoldTheSenderUpAndLoseNothing) {
  const std::string large = content(15'000'000);
  const RawServer server(sends(large));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(4), .mbit = 0});
  EXPECT_TRUE(curl({"--limit-rate", "10M", proxy.authority()}).body == large);
}

TEST(SlowProxy, TheServerCanBeGoneAndComeBack) {
  const std::string large = content(3'000'000);
  const RawServer server(sends(large));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(10), .mbit = 8});
  auto broken = std::async(std::launch::async, [&] { return curl({proxy.authority()}); });
  ASSERT_TRUE(eventually([&] { return proxy.counts().down > 100'000; }));
  proxy.be_gone();
  EXPECT_EQ(broken.get().exit_code, kReset);
  EXPECT_EQ(curl({proxy.authority()}).exit_code, kRefused);
  proxy.go();
  proxy.set_mbit(0);
  EXPECT_TRUE(curl({proxy.authority()}).body == large);
}

TEST(SlowProxy, NothingMovesWhileItIsStalled) {
  const std::string small = content(1000);
  const RawServer server(sends(small));
  const SlowProxy proxy(server.authority());
  proxy.stall();
  EXPECT_EQ(curl({"--max-time", "0.5", proxy.authority()}).exit_code, kTimedOut);
  EXPECT_EQ(server.requests().size(), 0U);
  auto waiting = std::async(std::launch::async, [&] { return curl({proxy.authority()}); });
  EXPECT_EQ(waiting.wait_for(milliseconds(300)), std::future_status::timeout);
  proxy.go();
  EXPECT_EQ(waiting.get().body, small);
}

TEST(SlowProxy, CutsAtAByte) {
  const std::string large = content(300'000);
  const RawServer server(sends(large));
  const SlowProxy proxy(server.authority(), {.rtt = milliseconds(2), .mbit = 0});
  for (const std::uint64_t bytes : {1U, 50'000U, 200'001U}) {
    const std::uint64_t before = proxy.counts().down;
    proxy.cut_after(bytes);
    const Reply reply = curl({proxy.authority()});
    EXPECT_EQ(reply.exit_code, kReset) << reply.describe();
    EXPECT_EQ(proxy.counts().down - before, bytes);
    EXPECT_TRUE(large.starts_with(reply.body));
  }
  EXPECT_TRUE(curl({proxy.authority()}).body == large) << "it cuts once";
}

TEST(SlowProxy, AServerThatRefusesIsNoServer) {
  std::string address;
  {
    const RawServer server(sends(address));
    address = server.authority();
  }
  const SlowProxy proxy(address);
  EXPECT_EQ(curl({proxy.authority()}).exit_code, kReset);
}

}  // namespace
}  // namespace pkgfs::test
