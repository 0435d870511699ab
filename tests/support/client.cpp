#include "support/client.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace outrigger::test {
namespace {

constexpr std::size_t chunk_bytes = 1U << 19;

Reply demand_ok(Reply reply, const char* what) {
  if (!reply.ok()) throw std::runtime_error(std::string(what) + ": " + reply.text());
  return reply;
}

}  // namespace

Client::Client(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {
  const std::uint64_t id = new_id();
  hello_ = demand_ok(request(id, encode_hello(id)), "hello");
}

std::uint64_t Client::send(std::uint64_t id, const Payload& payload) {
  transport_->send(payload);
  return id;
}

Reply Client::wait(std::uint64_t id) {
  if (const auto found = early_.find(id); found != early_.end()) {
    Reply reply = std::move(found->second);
    early_.erase(found);
    return reply;
  }
  while (true) {
    Reply reply = decode_reply(transport_->receive());
    if (reply.id == id) return reply;
    const std::uint64_t other = reply.id;
    if (!early_.emplace(other, std::move(reply)).second) {
      throw std::runtime_error("two replies to request " + std::to_string(other));
    }
  }
}

std::uint64_t Client::upload_later(std::uint64_t handle, const Data& data) {
  const std::span<const std::uint8_t> bytes = data.bytes;
  std::size_t offset = 0;
  while (true) {
    const std::size_t count = std::min(chunk_bytes, bytes.size() - offset);
    const std::uint64_t id = new_id();
    send(id,
         encode_upload(id, handle, data.dtype, data.shape, offset, bytes.subspan(offset, count)));
    offset += count;
    if (offset >= bytes.size()) return id;
    demand_ok(wait(id), "upload");
  }
}

std::uint64_t Client::run_later(const Program& program, std::span<const std::uint64_t> args,
                                std::span<const std::uint64_t> results, const RunOptions& options) {
  const std::uint64_t id = new_id();
  return send(id, encode_run(id, program, args, results, options));
}

std::uint64_t Client::prepare_later(std::uint64_t program_id, const Program& program) {
  const std::uint64_t id = new_id();
  return send(id, encode_prepare(id, program_id, program));
}

std::uint64_t Client::forget_later(std::uint64_t program_id) {
  const std::uint64_t id = new_id();
  return send(id, encode_forget(id, program_id));
}

std::uint64_t Client::release_later(std::span<const std::uint64_t> handles) {
  const std::uint64_t id = new_id();
  return send(id, encode_release(id, handles));
}

std::uint64_t Client::upload(const Data& data) {
  const std::uint64_t handle = new_handle();
  demand_ok(wait(upload_later(handle, data)), "upload");
  return handle;
}

Reply Client::run(const Program& program, std::span<const std::uint64_t> args,
                  std::span<const std::uint64_t> results, const RunOptions& options) {
  return wait(run_later(program, args, results, options));
}

Data Client::download(std::uint64_t handle) {
  const std::uint64_t id = new_id();
  const Reply reply = demand_ok(request(id, encode_info(id, handle)), "info");
  return download(handle, reply.strings.at("dtype"), reply.shape);
}

Data Client::download(std::uint64_t handle, const std::string& dtype,
                      const std::vector<std::int64_t>& shape) {
  return wait(download_later(handle, dtype, shape));
}

Client::Download Client::download_later(std::uint64_t handle, const std::string& dtype,
                                        const std::vector<std::int64_t>& shape) {
  Download download{dtype, shape, {}};
  const std::size_t bytes = data_bytes(dtype, shape);
  std::size_t offset = 0;
  do {
    const std::size_t count = std::min(chunk_bytes, bytes - offset);
    const std::uint64_t id = new_id();
    download.requests.push_back(send(id, encode_download(id, handle, offset, count)));
    offset += count;
  } while (offset < bytes);
  return download;
}

Data Client::wait(const Download& download) {
  Data data{download.dtype, download.shape, {}};
  for (const std::uint64_t id : download.requests) {
    const Reply reply = demand_ok(wait(id), "download");
    data.bytes.insert(data.bytes.end(), reply.data.begin(), reply.data.end());
  }
  if (data.bytes.size() != data_bytes(data.dtype, data.shape))
    throw std::runtime_error("download: another length");
  return data;
}

Reply Client::info(std::uint64_t handle) {
  const std::uint64_t id = new_id();
  return request(id, encode_info(id, handle));
}

Reply Client::info() {
  const std::uint64_t id = new_id();
  return request(id, encode_simple(id, "info"));
}

Reply Client::release(std::span<const std::uint64_t> handles) {
  return wait(release_later(handles));
}

Reply Client::ping() {
  const std::uint64_t id = new_id();
  return request(id, encode_simple(id, "ping"));
}

}  // namespace outrigger::test
