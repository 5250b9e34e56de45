// The training examples in their order.
#include "engine/batch_queue.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/stream_seeds.hpp"
#include "engine/latent_data.hpp"
#include "engine/trainer.hpp"

namespace dtk {

namespace {
/// Which of n examples a step meets: all of them once before any comes again.
Tensor permuted_numbers(std::int64_t n, std::uint64_t seed, std::int64_t step, std::int64_t batch) {
    auto numbers = at::empty({batch}, at::kLong);
    auto* number = numbers.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < batch; ++i) {
        const auto seen = step * batch + i;
        number[i] = permuted(seen % n, n, seed, seen / n);
    }
    return numbers;
}
}  // namespace

Tensor example_numbers(const Dataset& data, std::uint64_t seed, std::int64_t step, std::int64_t batch) {
    const auto n = data.size();
    if (n == 0) return at::arange(step * batch, (step + 1) * batch, at::kLong);
    return permuted_numbers(n, seed, step, batch);
}

Tensor example_numbers(const Stage& stage, std::int64_t step, std::int64_t batch) {
    constexpr auto all_numbers = std::int64_t{1} << 32;  // that examples without end may have
    const bool own = stream_seed(*stage.spec().reading, "data", stage.seed()) != stage.seed();
    return own && stage.dataset().size() == 0 ? permuted_numbers(all_numbers, stage.data_seed(), step, batch)
                                              : example_numbers(stage.dataset(), stage.data_seed(), step, batch);
}

namespace {
std::function<Batch(std::int64_t)> maker(const Stage& stage, at::Device device, const BatchParts& parts) {
    const auto& settings = *stage.spec().train;
    return [&stage, &settings, parts, device, numbers = Tensor()](std::int64_t number) mutable {
        const auto rows = parts.rows, first = (parts.first + number % parts.count) * rows;
        if (number % parts.count == 0 || !numbers.defined())
            numbers = example_numbers(stage, number / parts.count, settings.batch);
        auto batch = stage.dataset().examples(numbers.slice(0, first, first + rows));
        if (!batch.x.defined() || batch.x.size(0) != rows)
            throw PluginError("data set `" + stage.spec().part("dataset").name + "` answers " +
                                  std::to_string(batch.x.defined() ? batch.x.size(0) : 0) + " examples where " +
                                  std::to_string(rows) + " were asked for",
                              "examples(index) must answer one row for each number");
        batch.first = first;
        batch.of = settings.batch;
        if (device.is_cuda()) batch.x = batch.x.pin_memory();
        return batch;
    };
}
}  // namespace

namespace {
/// Small batches are made many at a time.
std::size_t batches_ahead(const Stage& stage, std::int64_t rows) {
    constexpr std::int64_t bytes = 1 << 18;
    const auto& shape = stage.dataset().shape();
    const auto of_batch = std::accumulate(shape.begin(), shape.end(), rows * 4, std::multiplies<>());
    return static_cast<std::size_t>(std::clamp<std::int64_t>(bytes / std::max<std::int64_t>(1, of_batch), 2, 32));
}
}  // namespace

BatchQueue::BatchQueue(const Stage& stage, at::Device device, std::int64_t first, const BatchParts& parts)
    : device_(device),
      codec_(stage.part<Codec>()),
      random_(stage.random("train/latents")),
      parts_(parts.count),
      number_(first * parts.count),
      prefetch_(maker(stage, device, parts), first * parts.count, stage.spec().train->steps * parts.count,
                batches_ahead(stage, parts.rows)) {}

Batch BatchQueue::next() {
    auto batch = prefetch_.next();
    batch.x = batch.x.to(device_, /*non_blocking=*/true);
    batch.condition = batch.condition.to(device_);
    if (codec_) batch.x = latents_of(*codec_, batch.x, random_.step(number_ / parts_).from(batch.first));
    ++number_;
    return batch;
}

}  // namespace dtk
