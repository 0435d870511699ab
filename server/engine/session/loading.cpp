#include "engine/session/loading.hpp"

#include <utility>

#include "files/array_file.hpp"
#include "files/csv.hpp"
#include "files/file.hpp"
#include "files/raw.hpp"

namespace outrigger::engine {

Result<TensorType> type_of(const std::string& name, std::span<const std::int64_t> shape) {
  const auto dtype = parse_dtype(name);
  if (!dtype) {
    return fail(ErrorCode::bad_dtype,
                "\"" + name + "\" is none of the dtypes " + std::string(dtype_names()));
  }
  OUTRIGGER_CHECK(check_shape(shape, size_of(*dtype)));
  return TensorType{*dtype, Dims(shape.begin(), shape.end())};
}

files::Check check_of(const ops::Context& context) {
  return [&context]() -> Result<void> {
    if (context.interrupt.raised()) return tl::make_unexpected(context.interrupt.error());
    return {};
  };
}

Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::Load& request) {
  return files::load_array(memory, request.path, request.member, check_of(context));
}

Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::LoadRaw& request) {
  OUTRIGGER_TRY(const TensorType type, type_of(request.dtype, request.shape));
  return files::load_raw(memory, request.path, type, request.offset, check_of(context));
}

Result<Tensor> load(Memory& memory, const ops::Context& context, const wire::LoadCsv& request) {
  OUTRIGGER_TRY(const TensorType type, type_of(request.dtype, {}));
  if (request.separator.size() != 1 || request.separator.find_first_of("\"\r\n") == 0) {
    return fail(ErrorCode::bad_request,
                "separator must be one character, no quote and no line's end, got " +
                    files::in_quotes(request.separator));
  }
  const files::Team team = [&](std::int64_t n, const std::function<void(std::int64_t)>& f) {
    return ops::parallel_ranges(context, n, 1, n > 1 ? ops::parallel_threshold : 0,
                                [&](int, std::int64_t i, std::int64_t) { f(i); });
  };
  return files::load_csv(memory, request.path, {type.dtype, request.separator[0], request.header},
                         team, check_of(context));
}

}  // namespace outrigger::engine
