// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/cancel.h"
#include "core/net/http_client.h"
#include "core/net/libcurl.h"
#include "core/net/pace.h"

namespace pkgfs {

/// One HTTP exchange while it lasts: libcurl's handle for it, and the response as far as it has come. The thread that
/// waits for the exchange owns the object; a TransferLoop performs it on another thread. Not thread-safe.
class Transfer {
 public:
  /// `request`, `sink`, `cancel` and the address policy must outlive this. Throws Error(kInternal) if libcurl can't be
  /// started or refuses an option.
  Transfer(const HttpRequest& request, const HttpSink& sink, const CancelFlag& cancel,
           const HttpClient::Options& options);
  ~Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  [[nodiscard]] CURL* easy() const { return easy_.get(); }
  /// The request, for messages.
  [[nodiscard]] std::string name() const { return describe(request_); }
  [[nodiscard]] bool is_cancelled() const { return cancel_.is_cancelled(); }
  /// Records that no transfer made progress between these times, because this process was busy. For example, a sink
  /// waited for a disk.
  void was_held_up(Pace::Clock::time_point from, Pace::Clock::time_point to) { pace_.paused(from, to); }
  /// Whether the exchange must end now because it is too slow for one of `transfers` that share the network. If so,
  /// `take_response` throws afterwards.
  [[nodiscard]] bool is_overdue(Pace::Clock::time_point now, std::size_t transfers);

  /// The response of an exchange that libcurl ended with `code`. Throws HttpError, and the exception of the sink.
  [[nodiscard]] HttpResponse take_response(CURLcode code);

 private:
  struct FreeEasy {
    void operator()(CURL* easy) const;
  };
  struct FreeList {
    void operator()(curl_slist* list) const;
  };

  void set_options(const HttpClient::Options& options);
  void add_header(const std::string& line);
  void add_credentials();
  void take_header(std::string_view line);
  /// False if the body is too large.
  [[nodiscard]] bool take_body(std::span<const std::byte> piece);
  [[nodiscard]] int status() const;
  [[nodiscard]] bool is_success() const { return response_.status >= 200 && response_.status < 300; }
  [[nodiscard]] bool must_keep_https() const { return request_.url.is_https() && !request_.may_leave_https; }
  [[nodiscard]] bool announces_too_much() const;
  [[nodiscard]] std::uint64_t body_bytes() const;  // as they came, before they are decoded
  [[nodiscard]] std::uint64_t sent_bytes() const;  // of the body of a PUT
  [[nodiscard]] std::uint64_t upload_size() const;
  /// Puts the next bytes of the body of a PUT into `buffer`, and returns their number.
  [[nodiscard]] std::size_t read_body(std::span<char> buffer);
  [[nodiscard]] std::string overdue_text() const;
  /// Asks the policy whether the current hop may use `address`. Remembers the reason if not.
  [[nodiscard]] bool may_use(const sockaddr& address, bool is_connected);

  /// Throws the Error of the process or the machine that made libcurl fail.
  void throw_if_of_machine(CURLcode code, const std::string& failed) const;

  static std::size_t header_callback(char* data, std::size_t one, std::size_t size, void* user);
  static std::size_t body_callback(char* data, std::size_t one, std::size_t size, void* user);
  static std::size_t read_callback(char* buffer, std::size_t one, std::size_t count, void* user);
  static int seek_callback(void* user, curl_off_t offset, int origin);
  static curl_socket_t socket_callback(void* user, curlsocktype purpose, curl_sockaddr* address);
  static int request_callback(void* user, char* remote, char* local, int remote_port, int local_port);

  const HttpRequest& request_;
  const HttpSink& sink_;
  const CancelFlag& cancel_;
  std::unique_ptr<CURL, FreeEasy> easy_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  HttpResponse response_;
  std::array<char, CURL_ERROR_SIZE> message_{};  // libcurl's own description of a failure
  std::exception_ptr thrown_;                    // by the sink
  int socket_error_ = 0;                         // errno of the last socket that was made; 0: it was made
  std::uint64_t received_ = 0;
  std::uint64_t body_at_ = 0;  // of the body of a PUT: the byte that is sent next
  bool too_large_ = false;
  bool head_ended_ = false;  // the blank line after the headers came
  Pace pace_;
  Pace::Verdict verdict_ = Pace::Verdict::kFine;
  std::uint64_t header_bytes_ = 0;  // of all responses of the exchange
  std::uint64_t passed_bytes_ = 0;  // of the bodies before a redirect, because libcurl counts only the last response
  std::uint64_t last_body_ = 0;
  AddressPolicy* addresses_;  // null: any address
  std::string refused_;       // why an address wasn't used; empty if all were
};

}  // namespace pkgfs
