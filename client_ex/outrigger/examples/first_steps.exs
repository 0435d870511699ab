alias Outrigger.{InPlace, Op}

{:ok, _} = Outrigger.start_link(name: Numbers, memory_limit: "1GiB")

# Eager: each call sends one instruction and returns at once. A read of a value waits.
x = Outrigger.iota(Numbers, {1_000_000}, type: :f32)
y = x |> Op.multiply(2) |> Op.add(1)
IO.inspect(Outrigger.to_number!(Op.sum(y)), label: "sum of 2x + 1")

# In place: changes the memory of x itself. Other values that came from x keep theirs.
InPlace.put_slice(x, [10], Outrigger.tensor(Numbers, [7.0, 8.0], type: :f32))
IO.inspect(Outrigger.to_list!(Op.slice(x, [9], [4])), label: "x[9..12]")

# A whole program in one call, prepared once: a scatter into a large tensor,
# destination[indices[i]] += source[i].
scatter =
  Outrigger.prepare!(
    Numbers,
    Outrigger.program(fn destination, indices, source ->
      InPlace.indexed_add(destination, indices, source)
    end)
  )

# One row of indices for each place: shape {n, 1} into a tensor with one axis.
indices = Outrigger.tensor(Numbers, [[3], [5], [3]])
source = Outrigger.tensor(Numbers, [0.5, 0.25, 0.125], type: :f32)
for _ <- 1..1000, do: Outrigger.call(scatter, [x, indices, source])
IO.inspect(Outrigger.to_list!(Op.slice(x, [3], [3])), label: "x[3..5]")

# A mistake is a typed error that names the op and the shapes.
case Outrigger.await(Op.take(x, Outrigger.tensor(Numbers, [2_000_000]))) do
  {:error, error} -> IO.puts(Exception.message(error))
end
