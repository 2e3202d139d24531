// SPDX-License-Identifier: MIT
#include "daemon/cli/logging.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "daemon/cli/console.h"
#include "daemon/cli/run_report.h"
#include "daemon/cli/text_output.h"

namespace pkgfs {

namespace {

/// The priorities of syslog, as sd-daemon(3) lists them.
constexpr int kErrorPriority = 3;
constexpr int kWarningPriority = 4;
constexpr int kInfoPriority = 6;
constexpr int kDebugPriority = 7;

int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
    case spdlog::level::err:
      return kErrorPriority;
    case spdlog::level::warn:
      return kWarningPriority;
    case spdlog::level::info:
      return kInfoPriority;
    default:
      return kDebugPriority;
  }
}

std::string journal_prefix(int priority) { return "<" + std::to_string(priority) + ">"; }

/// Joins the lines of a message: a log has one line for each event.
std::string one_line(std::string_view text) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\n') {
      line += text[i];
      continue;
    }
    i = std::min(text.find_first_not_of(" \n", i), text.size()) - 1;
    if (i + 1 < text.size()) {
      line += "; ";
    }
  }
  return line;
}

/// The message with control characters escaped: names from packages are in it.
class PrintableMessage final : public spdlog::custom_flag_formatter {
 public:
  enum class Form { kLines, kLine, kJournal };
  explicit PrintableMessage(Form form) : form_(form) {}

  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    std::string text = printable({message.payload.data(), message.payload.size()}, true);
    if (form_ != Form::kLines) {
      text = one_line(text);
    }
    if (form_ == Form::kJournal) {
      text.insert(0, journal_prefix(priority_of(message.level)));
    }
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<PrintableMessage>(form_);
  }

 private:
  Form form_;
};

std::unique_ptr<spdlog::pattern_formatter> make_formatter(PrintableMessage::Form form, const char* pattern,
                                                          const char* end = "\n") {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::local, end);
  formatter->add_flag<PrintableMessage>('*', form).set_pattern(pattern);
  return formatter;
}

class ConsoleSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ConsoleSink(std::ostream& err) : console_(Console::of(err)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    console_->print({text.data(), text.size()});
  }
  void flush_() override {}

 private:
  std::shared_ptr<Console> console_;
};

/// Messages for the pkgfs process that started this one.
class ReportSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit ReportSink(int fd) : fd_(fd) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    constexpr std::size_t kMostMessages = 100;  // kMostReportBytes
    if (count_++ < kMostMessages) {
      report_message(fd_, {.is_warning = message.level >= spdlog::level::warn,
                           .text = std::string(message.payload.data(), message.payload.size())});
    }
  }
  void flush_() override {}

 private:
  int fd_;
  std::size_t count_ = 0;
};

std::shared_ptr<spdlog::sinks::sink> make_sink(const Io& io) {
  if (io.report_fd >= 0) {
    return std::make_shared<ReportSink>(io.report_fd);
  }
  auto sink = std::make_shared<ConsoleSink>(*io.err);
  using Form = PrintableMessage::Form;
  sink->set_formatter(io.err_is_journal ? make_formatter(Form::kJournal, "%*")
                                        : make_formatter(Form::kLines, "pkgfs: %l: %*"));
  return sink;
}

}  // namespace

LogSession::LogSession(const Io& io) : before_(spdlog::default_logger()) {
  auto sinks = std::make_shared<spdlog::sinks::dist_sink_mt>();  // of one, which log_to_syslog replaces
  sinks->add_sink(make_sink(io));
  auto logger = std::make_shared<spdlog::logger>("pkgfs", std::move(sinks));
  logger->set_level(spdlog::level::warn);
  spdlog::set_default_logger(std::move(logger));
}

LogSession::~LogSession() { spdlog::set_default_logger(before_); }

void log_to_syslog() {
  const auto before = spdlog::default_logger();
  auto sink = std::make_shared<spdlog::sinks::syslog_sink_mt>("pkgfs", LOG_PID, LOG_DAEMON, true);
  sink->set_formatter(make_formatter(PrintableMessage::Form::kLine, "%*", ""));
  // The logger stays, because other threads may use it at this moment.
  if (auto* const sinks = dynamic_cast<spdlog::sinks::dist_sink_mt*>(before->sinks().front().get())) {
    sinks->set_sinks({std::move(sink)});
    return;
  }
  auto logger = std::make_shared<spdlog::logger>("pkgfs", std::move(sink));
  logger->set_level(before->level());
  spdlog::set_default_logger(std::move(logger));
}

std::string error_lines(const Io& io, const Error& error) {
  return io.err_is_journal ? journal_prefix(kErrorPriority) + one_line(error.what()) + "\n" : error_text(error);
}

bool is_journal(int fd, const std::optional<std::string>& journal_stream) {
  struct stat status{};
  if (!journal_stream || ::fstat(fd, &status) != 0) {
    return false;
  }
  return *journal_stream == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

std::string toggle_debug() {
  static std::optional<spdlog::level::level_enum> before;  // one thread waits for signals
  const bool on = !before;
  if (on) {
    before = spdlog::get_level();
  }
  spdlog::set_level(on ? spdlog::level::debug : *std::exchange(before, std::nullopt));
  const auto name = spdlog::level::to_string_view(spdlog::get_level());
  return {name.data(), name.size()};
}

void set_log_level(const LogFlags& flags) { spdlog::set_level(spdlog::level::from_str(flags.level)); }

}  // namespace pkgfs
