#pragma once
// Networks that are told two times: their answer leads from t to an earlier end s. A prediction `velocity` of them is
// the average velocity of the flow between the two,
//   u(x_t, s, t) = (x_t − x_s)/(t − s),   t and s as u = (t+1)/T,
// and where s = t the velocity itself. And derivatives along the flow, which losses of such networks stand on.
#include <functional>

#include <dtk/denoiser.hpp>

namespace dtk {

/// A model that can be built to be told two times. Its answer then is differentiable by t in forward mode: what
/// dtk::NoiseInput and Time::on answer is, numbers that Time::map has made are not.
class DTK_API ToldEnd {
 public:
    virtual ~ToldEnd();
    /// Was it built so?
    virtual bool knows_end() const = 0;
};

/// The denoiser told the end of a step. end: at most t, −1 the data; [B] as x has rows.
DTK_API Denoiser leading_to(const Denoiser& denoise, const Time& end, std::int64_t rows);
/// The end that a network is told; t where nobody told it one.
DTK_API Time end_of(const Condition& condition, const Time& t);

/// f(x, t) and its derivative along dx in x and 1 in t, by forward-mode automatic differentiation: it is f's own, to
/// rounding, and costs about another evaluation. Errors: whatever LibTorch says of an operation without one.
struct Along {
    Tensor value;  ///< differentiable
    Tensor rate;   ///< a number: nothing is differentiated through it
};
DTK_API Along along(const std::function<Tensor(const Tensor& x, const Time& t)>& f, const Tensor& x, const Tensor& dx,
                    const Time& t);

}  // namespace dtk
