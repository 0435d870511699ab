defmodule Outrigger.Options do
  @moduledoc false
  # Checks the options of Outrigger.start_link/1. Raises ArgumentError with the expected value.

  alias Outrigger.{Address, Token}

  @defaults [
    name: nil,
    connect: nil,
    token: nil,
    ssl: [],
    sync_connect: true,
    memory_limit: nil,
    threads: nil,
    daemon: nil,
    args: [],
    env: [],
    log: :stderr,
    on_restart: nil,
    timeout: 60_000,
    start_timeout: 10_000,
    queue_max: 16_384,
    queue_bytes_max: 64 * 1024 * 1024,
    chunk_bytes: 256 * 1024
  ]

  # These options are for a daemon that the server starts, and those for one that it connects to.
  @own [:daemon, :args, :env, :log, :memory_limit, :threads]
  @remote [:token, :ssl, :sync_connect]

  defstruct Keyword.keys(@defaults)

  @type t :: %__MODULE__{}

  @doc """
  Wraps the secrets of options into functions, whose `inspect/1` shows nothing. So a supervisor's
  report of its child does not show them.
  """
  @spec hide(term) :: term
  def hide(options) do
    if Keyword.keyword?(options),
      do: for({key, value} <- options, do: {key, hide(key, value)}),
      else: options
  end

  defp hide(:token, token) do
    case Token.source(token) do
      {:ok, source} -> source
      # start_link/1 raises.
      :error -> fn -> {:error, "it is no token"} end
    end
  end

  defp hide(:ssl, ssl) when is_list(ssl), do: fn -> ssl end
  defp hide(_key, value), do: value

  def new!(options) do
    # The options may hold a token.
    unless Keyword.keyword?(options),
      do: raise(ArgumentError, "expected a keyword list of options")

    case Keyword.keys(options) -- Keyword.keys(@defaults) do
      [] ->
        :ok

      unknown ->
        raise ArgumentError,
              "unknown option #{inspect(hd(unknown))}; the options are " <>
                Enum.map_join(Keyword.keys(@defaults), ", ", &inspect/1)
    end

    check_kind(options, options[:connect] != nil)

    struct!(
      __MODULE__,
      for({key, default} <- @defaults, do: {key, check(key, Keyword.get(options, key, default))})
    )
  end

  defp check_kind(options, true) do
    with [key | _] <- Enum.filter(@own, &(options[&1] != nil)) do
      raise ArgumentError,
            "the option #{inspect(key)} is for a daemon that this server starts; with :connect, " <>
              "set it where outriggerd is started"
    end
  end

  defp check_kind(options, false) do
    with [key | _] <- Enum.filter(@remote, &(options[&1] != nil)) do
      raise ArgumentError,
            "the option #{inspect(key)} needs the option :connect, the address of a server"
    end
  end

  defp check(:name, nil), do: nil
  defp check(:name, name) when is_atom(name), do: name
  defp check(:name, {:global, _} = name), do: name
  defp check(:name, {:via, module, _} = name) when is_atom(module), do: name

  defp check(:connect, nil), do: nil

  defp check(:connect, text) when is_binary(text) do
    case Address.parse(text) do
      {:ok, address} -> address
      {:error, expected} -> wrong(:connect, expected, text)
    end
  end

  # The errors of these two options do not show their values, which may be secrets.
  defp check(:token, token) do
    case Token.source(token) do
      {:ok, source} -> source
      :error -> raise ArgumentError, "the option :token must be #{expected(:token)}"
    end
  end

  defp check(:ssl, fun) when is_function(fun, 0), do: fun

  defp check(:ssl, ssl) do
    unless Keyword.keyword?(ssl),
      do: raise(ArgumentError, "the option :ssl must be #{expected(:ssl)}")

    fn -> ssl end
  end

  defp check(:sync_connect, sync) when is_boolean(sync), do: sync

  defp check(:memory_limit, nil), do: nil
  defp check(:memory_limit, bytes) when is_integer(bytes) and bytes >= 0, do: bytes

  defp check(:memory_limit, text) when is_binary(text) do
    if text =~ ~r/\A([1-9]\d?|100)%\z/, do: text, else: bytes!(text)
  end

  defp check(:threads, nil), do: nil
  defp check(:threads, n) when is_integer(n) and n in 1..1024, do: n
  defp check(:daemon, nil), do: nil
  defp check(:daemon, path) when is_binary(path), do: path

  defp check(:args, args) when is_list(args) do
    if Enum.all?(args, &is_binary/1), do: args, else: wrong(:args, "a list of strings", args)
  end

  defp check(:env, env) when is_list(env) or is_map(env) do
    for pair <- env do
      case pair do
        {key, value} when is_binary(key) and (is_binary(value) or is_nil(value)) -> pair
        _ -> wrong(:env, "pairs of strings", env)
      end
    end
  end

  defp check(:log, log) when log in [:stderr, :none], do: log
  defp check(:log, path) when is_binary(path), do: path
  defp check(:on_restart, nil), do: nil
  defp check(:on_restart, fun) when is_function(fun, 1), do: fun

  defp check(:on_restart, {m, f, a} = mfa) when is_atom(m) and is_atom(f) and is_list(a), do: mfa

  defp check(key, :infinity) when key in [:timeout], do: :infinity

  defp check(key, n)
       when key in [:queue_max, :queue_bytes_max] and is_integer(n) and n > 0,
       do: n

  defp check(key, ms) when key in [:timeout, :start_timeout] and is_integer(ms) and ms > 0,
    do: Outrigger.Server.deadline!(ms)

  defp check(:chunk_bytes, n) when is_integer(n) and n in 4096..1_047_552, do: n

  defp check(key, value), do: wrong(key, expected(key), value)

  defp bytes!(text) do
    units = %{"" => 1, "b" => 1, "kib" => 1024, "mib" => 1024 ** 2, "gib" => 1024 ** 3}
    units = Map.merge(units, %{"tib" => 1024 ** 4, "kb" => 1000, "mb" => 1_000_000})
    units = Map.merge(units, %{"gb" => 1_000_000_000, "tb" => 1_000_000_000_000})

    with {number, unit} when number > 0 <- Float.parse(text),
         {:ok, factor} <- Map.fetch(units, unit |> String.trim() |> String.downcase()) do
      trunc(number * factor)
    else
      _ ->
        wrong(
          :memory_limit,
          ~s(a number of bytes or a text such as "2GiB", "512MiB" or "50%"),
          text
        )
    end
  end

  defp expected(:name), do: "an atom, {:global, term} or {:via, module, term}"
  defp expected(:connect), do: "the address of a server, a string"

  defp expected(:token),
    do: "a string of 1 to 1024 bytes, {:file, path}, or a function without arguments"

  defp expected(:ssl), do: "a keyword list of options of :ssl.connect/3"
  defp expected(:sync_connect), do: "true or false"
  defp expected(:memory_limit), do: ~s(a number of bytes or a text such as "2GiB" or "50%")
  defp expected(:threads), do: "from 1 to 1024 threads"
  defp expected(:daemon), do: "the path of the outriggerd executable"
  defp expected(:args), do: "a list of strings"
  defp expected(:env), do: "pairs of strings"
  defp expected(:log), do: ":stderr, :none, or the path of a file"
  defp expected(:on_restart), do: "a function of one argument or {module, function, args}"
  defp expected(:timeout), do: "milliseconds or :infinity"
  defp expected(:start_timeout), do: "milliseconds"
  defp expected(:queue_max), do: "a positive number of requests"
  defp expected(:queue_bytes_max), do: "a positive number of bytes"
  defp expected(:chunk_bytes), do: "from 4096 to 1047552 bytes"

  defp wrong(key, expected, value) do
    raise ArgumentError, "the option #{inspect(key)} must be #{expected}, got: #{inspect(value)}"
  end
end
