// SPDX-License-Identifier: MIT
// Risk: a failure reaches the starting process garbled or not at all, or a report is written into another file.
#include "daemon/cli/run_report.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "core/base/cancel.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "daemon/cli/logging.h"
#include "daemon/commands/program.h"

namespace pkgfs::test {
namespace {

class Report : public ::testing::Test {
 protected:
  [[nodiscard]] Io io() {
    Io io{&out_, &err_, [](const char*) { return std::nullopt; }};
    io.report_fd = file_.get();
    return io;
  }
  [[nodiscard]] std::string written() const {
    std::string text(kMostReportBytes * 2, '\0');
    text.resize(static_cast<std::size_t>(::pread(file_.get(), text.data(), text.size(), 0)));
    return text;
  }
  [[nodiscard]] RunReport read() const { return parse_run_report(written()); }

  std::ostringstream out_;
  std::ostringstream err_;
  const UniqueFd file_{::memfd_create("report", MFD_CLOEXEC)};
};

TEST_F(Report, CarriesTheErrorOfARunInPlaceOfText) {
  EXPECT_EQ(run_program({"pkgfs", "inspect", "/absent/package.webc"}, io()), 3);
  EXPECT_EQ(err_.str(), "");
  const RunReport report = read();
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->code(), ErrorCode::kNotFound);
  EXPECT_NE(report.error->message().find("/absent/package.webc"), std::string::npos) << report.error->what();
}

TEST_F(Report, CarriesEveryCodeAndTheWholeChain) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Error error(static_cast<ErrorCode>(code), {"outer \"x\"", "line\nbreak \x1b[31m", "inner: ä"});
    EXPECT_NE(report_failure(io(), error), 0);
    const RunReport report = read();
    ASSERT_TRUE(report.error) << code;
    EXPECT_EQ(report.error->code(), error.code()) << "the last line counts";
    EXPECT_EQ(report.error->chain(), error.chain());
  }
}

TEST_F(Report, CarriesLogMessagesAndNothingElseDoes) {
  {
    const LogSession log(io());
    log::warn("{} is odd", "this");
    log::info("below the level");
    set_log_level({.level = "info"});
    log::info("pkgfs: error: forged\n  caused by: nobody");
  }
  const RunReport report = read();
  EXPECT_EQ(err_.str(), "");
  ASSERT_EQ(report.messages.size(), 2U);
  EXPECT_TRUE(report.messages[0].is_warning);
  EXPECT_EQ(report.messages[0].text, "this is odd");
  EXPECT_FALSE(report.messages[1].is_warning);
  EXPECT_EQ(report.messages[1].text, "pkgfs: error: forged\n  caused by: nobody");
  EXPECT_FALSE(report.error);
}

TEST_F(Report, AFloodOfMessagesDoesNotHideTheError) {
  {
    const LogSession log(io());
    for (int i = 0; i < 10'000; ++i) {
      log::warn("{}", std::string(10'000, '\x01'));
    }
    report_failure(io(), Error(ErrorCode::kLoad, std::vector<std::string>(100, std::string(100'000, '\xff'))));
  }
  EXPECT_LT(written().size(), kMostReportBytes);
  const RunReport report = read();
  EXPECT_EQ(report.messages.size(), 100U);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->code(), ErrorCode::kLoad);
}

TEST(ReportText, WhatIsNotOfItsFormIsLeftOut) {
  for (const char* text : {"", "\n\n", "{", "[]", "7", "{\"event\":7}", "{\"event\":\"error\"}",
                           "{\"event\":\"error\",\"code\":\"io\",\"chain\":[]}",
                           "{\"event\":\"error\",\"code\":\"io\",\"chain\":{\"a\":1}}",
                           "{\"event\":\"error\",\"code\":\"io\",\"chain\":[7,null]}", "\xff\xfe", "pkgfs: error: x"}) {
    const RunReport report = parse_run_report(text);
    EXPECT_FALSE(report.error) << text;
    EXPECT_TRUE(report.messages.empty()) << text;
  }
  EXPECT_FALSE(parse_run_report(std::string(kMostReportBytes, '[')).error);
  const RunReport odd = parse_run_report(
      "{\"event\":\"error\",\"code\":\"unheard-of\",\"chain\":[\"a\",7,\"b\"]}\n{\"event\":\"message\"}\n{\"cut off");
  ASSERT_TRUE(odd.error);
  EXPECT_EQ(odd.error->code(), ErrorCode::kInternal);
  EXPECT_EQ(odd.error->chain(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(odd.messages.size(), 1U);
}

TEST(ReportDescriptor, IsTakenOnlyFromTheProcessThatStartedThisOne) {
  const UniqueFd file(::memfd_create("report", 0));
  const auto find = [](const std::string& value) {
    return find_report_fd(
        [&](const char* name) { return std::string(name) == kReportVariable ? std::optional(value) : std::nullopt; });
  };
  const std::string parent = std::to_string(::getppid());
  const std::string number = std::to_string(file.get());
  EXPECT_EQ(::fcntl(file.get(), F_GETFD), 0);
  EXPECT_EQ(find(parent + ":" + number), file.get());
  EXPECT_EQ(::fcntl(file.get(), F_GETFD), FD_CLOEXEC) << "no other program inherits it";
  for (const std::string& value : {std::string(), parent, parent + ":", ":" + number, parent + ":" + number + "x",
                                   "1" + parent + ":" + number, parent + ":2", parent + ":-1", parent + ":4000",
                                   std::to_string(::getpid()) + ":" + number, parent + " " + number}) {
    EXPECT_EQ(find(value), -1) << value;
  }
  EXPECT_EQ(find_report_fd([](const char*) { return std::nullopt; }), -1);
}

TEST_F(Report, AnInterruptionIsNoGarbledLine) {
  const std::string line = R"({"event":"message","level":"info","text":")" + std::string(100'000, 'x') + "\"}\n";
  EXPECT_EQ(parse_run_report(line).messages.size(), 1U);
  CancelFlag cancel;
  cancel.cancel();
  const CancelScope scope(cancel);
  EXPECT_THROW((void)parse_run_report(line), Error);
}

}  // namespace
}  // namespace pkgfs::test
