#include "wire/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>

#include "base/errors.h"
#include "wire/curl_codes.h"

namespace davit::wire {

using namespace std::chrono;
using base::IoError;

namespace {

constexpr size_t kMaxHeaderBytes = 256 << 10;
constexpr size_t kIdleHandles = 16;
// Of a body that is streamed, either way: libcurl's own 16 KiB cost a system call each.
constexpr long kStreamBufferBytes = 128 << 10;

void start_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw base::Error("libcurl cannot start");
}

// One transfer at a time; the multi handle owns the connections, so they outlive the transfer.
struct Handle {
  Handle() : multi(curl_multi_init()), easy(curl_easy_init()) {
    if (!multi || !easy) {
      free();
      throw base::Error("libcurl cannot make a handle");
    }
  }
  ~Handle() { free(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void free() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }

  CURLM* multi;
  CURL* easy;
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// One request on its way. Exceptions of callbacks are kept and the transfer ended.
class Transfer {
 public:
  Transfer(Handle& handle, const HttpRequest& request, const BodySink* sink, const HeadSink* head)
      : handle_(handle), request_(request), sink_(sink), head_(head) {}
  ~Transfer() {
    if (added_) curl_multi_remove_handle(handle_.multi, handle_.easy);
    curl_slist_free_all(headers_);
    curl_easy_reset(handle_.easy);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  HttpResponse run(const std::string& user_agent, const std::string& ca_file) {
    if (request_.stop.stop_requested()) throw base::Cancelled();
    prepare(user_agent, ca_file);
    const std::stop_callback wake(request_.stop, [this] { curl_multi_wakeup(handle_.multi); });
    if (curl_multi_add_handle(handle_.multi, handle_.easy) != CURLM_OK)
      throw base::Error("libcurl cannot add a transfer");
    added_ = true;
    alive();
    const CURLcode code = perform();
    if (thrown_) std::rethrow_exception(thrown_);
    if (request_.stop.stop_requested() && code != CURLE_OK) throw base::Cancelled();
    if (code != CURLE_OK) refuse(code);
    if (!head_complete_)  // which libcurl takes for the end of the headers
      throw NoAnswer(what() + "the connection ended within the headers", 0, true);
    begin_body();
    return std::move(response_);
  }

 private:
  template <typename Value>
  void set(CURLoption option, Value value) {
    if (const CURLcode code = curl_easy_setopt(handle_.easy, option, value); code != CURLE_OK)
      throw base::Error(std::string("libcurl: ") + curl_easy_strerror(code));
  }

  void prepare(const std::string& user_agent, const std::string& ca_file) {
    set(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    // Else who stops waits for a name that is still being looked up.
    set(CURLOPT_QUICK_EXIT, 1L);
#endif
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_USERAGENT, user_agent.c_str());
    if (!ca_file.empty()) {
      set(CURLOPT_CAINFO, ca_file.c_str());
      set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    }
    if (!is_http_url(request_.url))
      throw base::UsageError("'" + shown_url() + "' is no http or https URL");
    set(CURLOPT_URL, request_.url.c_str());
    if (!request_.unix_socket.empty()) {
      set(CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
      set(CURLOPT_PROXY, "");
    }
    set(CURLOPT_CONNECTTIMEOUT_MS, deadline(request_.deadlines.connect, 300'000));
    set(CURLOPT_TIMEOUT_MS, deadline(request_.deadlines.total, 0));
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, this);
    if (sink_) set(CURLOPT_BUFFERSIZE, kStreamBufferBytes);
    prepare_method();
    // No waiting for "100 Continue", which half of all servers never send.
    add_header("Expect:");
    for (const auto& [name, value] : request_.headers) {
      if (name.find_first_of("\r\n:") != name.npos || value.find_first_of("\r\n") != value.npos)
        throw base::UsageError("a header '" + name + "' holds a line's end");
      add_header(value.empty() ? name + ";" : name + ": " + value);
    }
    set(CURLOPT_HTTPHEADER, headers_);
  }

  void prepare_method() {
    const std::string& method = request_.method;
    const bool has_body = request_.body_source || !request_.body.empty();
    if (method == "HEAD") {
      set(CURLOPT_NOBODY, 1L);
    } else if (has_body || method == "POST" || method == "PUT" || method == "PATCH") {
      set(CURLOPT_UPLOAD, 1L);
      set(CURLOPT_READFUNCTION, &Transfer::on_read);
      set(CURLOPT_READDATA, this);
      set(CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
      set(CURLOPT_SEEKDATA, this);
      curl_off_t size = static_cast<curl_off_t>(request_.body.size());
      if (request_.body_source) {
        size = request_.body_source->size_bytes
                   ? static_cast<curl_off_t>(*request_.body_source->size_bytes)
                   : -1;
        if (!request_.body_source->rewind) set(CURLOPT_FRESH_CONNECT, 1L);
        set(CURLOPT_UPLOAD_BUFFERSIZE, kStreamBufferBytes);
      }
      set(CURLOPT_INFILESIZE_LARGE, size);
      set(CURLOPT_CUSTOMREQUEST, method.c_str());
    } else {
      set(CURLOPT_HTTPGET, 1L);
      set(CURLOPT_CUSTOMREQUEST, method.c_str());
    }
  }

  static long deadline(milliseconds limit, long none) {
    return limit.count() > 0 ? static_cast<long>(limit.count()) : none;
  }
  void add_header(const std::string& line) {
    curl_slist* longer = curl_slist_append(headers_, line.c_str());
    if (!longer) throw std::bad_alloc();
    headers_ = longer;
  }
  void alive() { last_sign_ = steady_clock::now(); }

  CURLcode perform() {
    for (;;) {
      int running = 0;
      if (curl_multi_perform(handle_.multi, &running) != CURLM_OK) return CURLE_FAILED_INIT;
      int left = 0;
      while (const CURLMsg* message = curl_multi_info_read(handle_.multi, &left))
        if (message->msg == CURLMSG_DONE) return message->data.result;
      if (thrown_) return CURLE_ABORTED_BY_CALLBACK;
      auto wait = milliseconds(60'000);
      if (request_.stop.stop_requested()) {
        const auto now = steady_clock::now();
        if (!stopped_at_) stopped_at_ = now;
        const auto left = duration_cast<milliseconds>(*stopped_at_ + request_.grace - now);
        if (left.count() <= 0) return CURLE_ABORTED_BY_CALLBACK;
        wait = left;
      }
      if (const milliseconds idle = request_.deadlines.idle; idle.count() > 0) {
        const auto silent = duration_cast<milliseconds>(steady_clock::now() - last_sign_);
        if (silent >= idle) {
          idle_ran_out_ = true;
          return CURLE_OPERATION_TIMEDOUT;
        }
        wait = std::min(wait, idle - silent + milliseconds(1));
      }
      if (curl_multi_poll(handle_.multi, nullptr, 0, static_cast<int>(wait.count()), nullptr) !=
          CURLM_OK)
        return CURLE_FAILED_INIT;
    }
  }

  std::string shown_url() const {
    return request_.secret_path ? masked_path_url(request_.url) : masked_url(request_.url);
  }
  std::string what() const {
    return request_.method + " " + shown_url() +
           (request_.unix_socket.empty() ? "" : " at " + request_.unix_socket) + ": ";
  }
  [[noreturn]] void refuse(CURLcode code) const {
    if (too_large_)
      throw IoError(
          what() + "the answer is larger than " + base::human_size(request_.max_body_bytes), 0,
          false);
    if (idle_ran_out_)
      throw NoAnswer(what() + "no sign of life for " + in_seconds(request_.deadlines.idle),
                    ETIMEDOUT, true);
    long os_error = 0;
    curl_easy_getinfo(handle_.easy, CURLINFO_OS_ERRNO, &os_error);
    const bool timed_out = code == CURLE_OPERATION_TIMEDOUT;
    std::string why;
    if (timed_out) {
      const milliseconds total = request_.deadlines.total;
      curl_off_t passed = 0;
      curl_easy_getinfo(handle_.easy, CURLINFO_TOTAL_TIME_T, &passed);
      const bool whole = total.count() > 0 && microseconds(passed) >= total;
      why = whole ? "not done within " + in_seconds(total)
                  : "no connection within " + in_seconds(request_.deadlines.connect);
    } else if (code == CURLE_COULDNT_CONNECT && os_error != 0) {
      why = std::string("cannot connect: ") + std::strerror(static_cast<int>(os_error));
    } else {
      why = error_[0] ? error_ : curl_easy_strerror(code);
      // It goes on with the proxy's URL, its password included.
      if (why.starts_with("Unsupported proxy")) why = "the proxy of the environment cannot be used";
    }
    const int number = timed_out ? ETIMEDOUT : static_cast<int>(os_error);
    if (is_untrusted(code)) throw Untrusted(what() + why, number, is_transient(code, os_error));
    if (code == CURLE_COULDNT_CONNECT) throw IoError(what() + why, number, is_transient(code, os_error));
    throw NoAnswer(what() + why, number, is_transient(code, os_error));
  }
  static std::string in_seconds(milliseconds time) {
    char text[32];
    std::snprintf(text, sizeof text, "%g s", static_cast<double>(time.count()) / 1000);
    return text;
  }

  // Runs a callback's part; what it throws is kept for run().
  template <typename Result, typename Part>
  Result guarded(Result failed, Part part) noexcept {
    try {
      const Result result = part();
      alive();
      return result;
    } catch (...) {
      thrown_ = std::current_exception();
      return failed;
    }
  }

  static size_t on_header(char* data, size_t, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded<size_t>(0, [&]() -> size_t {
      return transfer.take_header({data, count}) ? count : 0;
    });
  }
  bool take_header(std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    header_bytes_ += line.size();
    if (header_bytes_ > kMaxHeaderBytes) return false;
    if (line.substr(0, 5) == "HTTP/") {  // also after a "100 Continue"
      response_ = {};
      head_complete_ = false;
      const size_t space = line.find(' ');
      response_.status =
          space == line.npos ? 0 : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
      return true;
    }
    if (line.empty()) head_complete_ = true;
    const size_t colon = line.find(':');
    if (colon == line.npos) return true;
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    response_.headers.emplace_back(lower(line.substr(0, colon)), value);
    return true;
  }

  void begin_body() {
    if (head_ && *head_ && !std::exchange(head_told_, true)) (*head_)(response_);
  }
  static size_t on_body(char* data, size_t, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded<size_t>(0, [&]() -> size_t {
      transfer.begin_body();
      if (transfer.sink_ && transfer.response_.ok()) {
        (*transfer.sink_)({reinterpret_cast<const uint8_t*>(data), count});
        return count;
      }
      if (transfer.response_.body.size() + count > transfer.request_.max_body_bytes) {
        transfer.too_large_ = true;
        return 0;
      }
      transfer.response_.body.append(data, count);
      return count;
    });
  }
  static size_t on_read(char* data, size_t, size_t room, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded<size_t>(CURL_READFUNC_ABORT, [&]() -> size_t {
      if (const auto& source = transfer.request_.body_source)
        return source->read({reinterpret_cast<uint8_t*>(data), room});
      const std::string& body = transfer.request_.body;
      const size_t count = std::min(room, body.size() - transfer.sent_);
      std::memcpy(data, body.data() + transfer.sent_, count);
      transfer.sent_ += count;
      return count;
    });
  }
  static int on_seek(void* self, curl_off_t offset, int origin) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.guarded<int>(CURL_SEEKFUNC_FAIL, [&]() -> int {
      if (origin != SEEK_SET || offset != 0) return CURL_SEEKFUNC_FAIL;
      if (const auto& source = transfer.request_.body_source) {
        if (!source->rewind) return CURL_SEEKFUNC_FAIL;
        source->rewind();
      }
      transfer.sent_ = 0;
      return CURL_SEEKFUNC_OK;
    });
  }

  Handle& handle_;
  const HttpRequest& request_;
  const BodySink* sink_;
  const HeadSink* head_;
  HttpResponse response_;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  std::exception_ptr thrown_;
  steady_clock::time_point last_sign_;
  std::optional<steady_clock::time_point> stopped_at_;
  size_t header_bytes_ = 0, sent_ = 0;
  bool added_ = false, head_complete_ = false, head_told_ = false, too_large_ = false,
       idle_ran_out_ = false;
};

}  // namespace

struct HttpClient::Impl {
  std::string user_agent, ca_file;
  std::mutex mutex;
  std::vector<std::unique_ptr<Handle>> idle;

  std::unique_ptr<Handle> take() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Handle>();
    auto handle = std::move(idle.back());
    idle.pop_back();
    return handle;
  }
  void give_back(std::unique_ptr<Handle> handle) {
    const std::lock_guard lock(mutex);
    if (idle.size() < kIdleHandles) idle.push_back(std::move(handle));
  }
  HttpResponse run(const HttpRequest& request, const BodySink* sink, const HeadSink* head) {
    auto handle = take();
    HttpResponse response = Transfer(*handle, request, sink, head).run(user_agent, ca_file);
    give_back(std::move(handle));  // one that failed is not used again
    return response;
  }
};

HttpClient::HttpClient(std::string user_agent, std::string ca_file) {
  start_curl();
  impl_ = std::make_unique<Impl>();
  impl_->user_agent = std::move(user_agent);
  impl_->ca_file = std::move(ca_file);
}
HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request) {
  return impl_->run(request, nullptr, nullptr);
}

HttpResponse HttpClient::stream(const HttpRequest& request, const BodySink& sink,
                                const HeadSink& head) {
  return impl_->run(request, &sink, &head);
}

std::optional<std::string> HttpResponse::find_header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return std::nullopt;
}

}  // namespace davit::wire
