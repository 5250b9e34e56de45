#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include <dtk/dataset.hpp>

namespace dtk {

/// Makes batches ahead of need on a thread of its own: numbers first … last − 1, at most `ahead` of them waiting.
class Prefetch {
 public:
    Prefetch(std::function<Batch(std::int64_t number)> make, std::int64_t first, std::int64_t last,
             std::size_t ahead = 2)
        : worker_([this, make = std::move(make), first, last, ahead](const std::stop_token& stop) {
              for (auto number = first; number < last && !stop.stop_requested(); ++number) {
                  Made made;
                  try {
                      made.batch = make(number);
                  } catch (...) {
                      made.error = std::current_exception();
                  }
                  std::unique_lock lock(mutex_);
                  if (!changed_.wait(lock, stop, [&] { return made_.size() < ahead; })) return;
                  made_.push_back(std::move(made));
                  changed_.notify_all();
                  if (made_.back().error) return;
              }
          }) {}

    /// The next batch. Errors: what making it threw.
    Batch next() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !made_.empty(); });
        auto made = std::move(made_.front());
        made_.pop_front();
        changed_.notify_all();
        if (made.error) std::rethrow_exception(made.error);
        return std::move(made.batch);
    }

 private:
    struct Made {
        Batch batch;
        std::exception_ptr error;
    };
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<Made> made_;
    std::jthread worker_;  // last: it stops before what it uses goes
};

}  // namespace dtk
