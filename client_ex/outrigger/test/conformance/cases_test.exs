defmodule Outrigger.Conformance.CasesTest do
  @moduledoc "protocol/golden/cases, through the port. Its README says what a case is."
  use Outrigger.DaemonCase, async: true
  alias Outrigger.{Codec, Dtype, Program, Transfer}
  import Bitwise

  @cases Path.expand("../../../../protocol/golden/cases", __DIR__)
  @files Path.wildcard(Path.join(@cases, "*.msgpack"))

  test "there are golden cases" do
    refute Enum.empty?(@files)
  end

  for path <- @files do
    @tag timeout: 300_000
    test Path.basename(path, ".msgpack") do
      server = start_server(on_restart: fn _ -> IO.puts("the daemon died") end)
      {:ok, cases} = unquote(path) |> File.read!() |> Codec.decode_whole()
      failures = for a_case <- cases, text = failure(server, a_case), do: text
      shown = failures |> Enum.take(10) |> Enum.join("\n")
      assert failures == [], "#{length(failures)} of #{length(cases)} cases fail:\n#{shown}"
    end
  end

  # nil, or what is wrong.
  defp failure(server, a_case) do
    tensors = for %{"dtype" => _} = tensor <- a_case["in"], do: {tensor, upload(server, tensor)}
    args = Enum.map(tensors, &elem(&1, 1))
    for prepared <- Map.get(a_case, "prepared", []), do: prepare(server, prepared)
    Outrigger.sync(server)
    results = run(server, a_case, args)
    # Without results, sync/2 tells.
    wrong = if results == [], do: compare_sync(server, a_case), else: compare(results, a_case)
    for arg <- args, results == [], do: Outrigger.to_binary(arg)

    changed =
      if not Map.get(a_case, "in_place", false) or a_case["error"] do
        Enum.find_value(tensors, fn {golden, arg} ->
          if Outrigger.to_binary!(arg) != golden["data"], do: "an operand has changed"
        end)
      end

    Outrigger.release(results ++ args)
    reason = wrong || changed
    reason && "#{a_case["name"]}: #{reason}"
  end

  defp upload(server, %{"dtype" => dtype, "shape" => shape, "data" => data}) do
    {:ok, type} = Dtype.parse(dtype)
    Transfer.upload(Outrigger.Server.fetch!(server), data, type, List.to_tuple(shape))
  end

  defp prepare(server, %{"program_id" => id, "program" => program}) do
    encoded = program |> wire() |> Codec.encode() |> IO.iodata_to_binary()
    fields = [{"program_id", id}, {"program", {:raw, encoded}}]
    {:ok, _} = Outrigger.Server.request(Outrigger.Server.fetch!(server), "prepare", fields)
  end

  # Programs come as they are on the wire; the client's own are made by program/1.
  defp run(server, a_case, args) do
    program = Map.get(a_case, "program") || program(a_case, length(args))
    outputs = program["outputs"]
    entries = for {_, index} <- Enum.with_index(outputs), do: {:result, index}

    Outrigger.run(
      server,
      %Program{
        arity: length(args),
        encoded: program |> wire() |> Codec.encode() |> IO.iodata_to_binary(),
        outputs: outputs,
        template: {:list, entries}
      },
      args
    )
  end

  defp program(a_case, arity) do
    {ins, ^arity} =
      Enum.map_reduce(a_case["in"], 0, fn
        %{"number" => _} = literal, next -> {literal, next}
        _tensor, next -> {next, next + 1}
      end)

    count = if a_case["out"], do: length(a_case["out"]), else: max(1, region_outputs(a_case))
    outs = Enum.to_list(arity..(arity + count - 1)//1)
    optional = Map.take(a_case, ["attrs", "regions", "in_place"])
    instruction = Map.merge(optional, %{"op" => a_case["op"], "in" => ins, "out" => outs})
    params = Enum.to_list(0..(arity - 1)//1)
    %{"params" => params, "body" => [instruction], "outputs" => outs}
  end

  defp region_outputs(%{"regions" => [_ | _] = regions}),
    do: length(List.last(regions)["outputs"])

  defp region_outputs(a_case), do: Map.get(a_case, "results", 1)

  # The decoder gives strings and binaries alike: `data` is the one attribute that is a binary.
  defp wire(%{"data" => data} = map) when is_binary(data) do
    map |> Map.delete("data") |> wire() |> Map.put("data", {:bin, data})
  end

  defp wire(%{} = map), do: Map.new(map, fn {key, value} -> {key, wire(value)} end)
  defp wire(list) when is_list(list), do: Enum.map(list, &wire/1)
  defp wire(other), do: other

  defp compare_sync(server, a_case) do
    expected = a_case["error"]

    case Outrigger.sync(server) do
      :ok -> expected && "expected the error #{expected}, but it works"
      {:error, %Error{code: code}} -> if to_string(code) != expected, do: "got #{code}"
    end
  end

  defp compare(results, %{"error" => code}) do
    case Outrigger.await(results) do
      {:error, %Error{code: got}} ->
        if Atom.to_string(got) != code, do: "expected the error #{code}, got #{got}"

      {:ok, _} ->
        "expected the error #{code}, but it works"
    end
  end

  defp compare(results, %{"out" => out} = a_case) do
    results
    |> Enum.zip(out)
    |> Enum.find_value(fn {result, golden} -> compare_one(result, golden, a_case) end)
  end

  defp compare_one(result, golden, a_case) do
    case Outrigger.info(result) do
      {:ok, info} ->
        {:ok, type} = Dtype.parse(golden["dtype"])
        shape = List.to_tuple(golden["shape"])

        cond do
          info.type != type -> "type #{info.type}, expected #{type}"
          info.shape != shape -> "shape #{inspect(info.shape)}, expected #{inspect(shape)}"
          true -> compare_data(Outrigger.to_binary!(result), golden["data"], type, a_case)
        end

      {:error, error} ->
        Exception.message(error)
    end
  end

  defp compare_data(data, data, _type, _case), do: nil

  defp compare_data(data, golden, :c64, a_case), do: compare_data(data, golden, :f32, a_case)
  defp compare_data(data, golden, :c128, a_case), do: compare_data(data, golden, :f64, a_case)

  defp compare_data(data, golden, type, a_case)
       when type in [:f8, :f8_e4m3fn, :f16, :bf16, :f32, :f64] do
    bits = Dtype.bits(type)
    got = for <<x::little-size(bits) <- data>>, do: x
    expected = for <<x::little-size(bits) <- golden>>, do: x

    [got, expected]
    |> Enum.zip()
    |> Enum.with_index()
    |> Enum.find_value(fn {{x, y}, at} ->
      unless close?(x, y, type, a_case["ulp"] || 0, a_case["abs"]) do
        "element #{at} is #{float(x, type)}, expected #{float(y, type)}"
      end
    end)
  end

  defp compare_data(data, golden, _type, _case) do
    "#{inspect(data, limit: 20)}, expected #{inspect(golden, limit: 20)}"
  end

  defp close?(x, x, _type, _ulp, _abs), do: true

  defp close?(x, y, type, ulp, abs) do
    case {float(x, type), float(y, type)} do
      {:nan, :nan} ->
        true

      {a, b} when a == :nan or b == :nan ->
        false

      {a, b} ->
        ((ulp > 0 or abs != nil) and ulps(x, y, type) <= ulp) or (abs != nil and near?(a, b, abs))
    end
  end

  defp near?(a, b, abs), do: is_float(a) and is_float(b) and abs(a - b) <= abs

  defp ulps(x, y, type), do: abs(place(x, Dtype.bits(type)) - place(y, Dtype.bits(type)))

  # Floats in a row: neighbours differ by 1.
  defp place(x, bits) do
    magnitude = x &&& (1 <<< (bits - 1)) - 1
    if x >>> (bits - 1) == 1, do: -magnitude, else: magnitude
  end

  defp float(x, type), do: hd(Outrigger.Data.decode(<<x::little-size(Dtype.bits(type))>>, type))
end
