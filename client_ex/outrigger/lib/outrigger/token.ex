defmodule Outrigger.Token do
  @moduledoc false
  # The token that a server wants. It is kept as a function, whose `inspect/1` shows nothing, and
  # read anew for each connection.

  alias Outrigger.ConnectionError

  @bytes_max 1024

  @typedoc "Gives the token, or says without it what is wrong."
  @type source :: (() -> {:ok, binary} | {:error, String.t()})

  @doc "The source for the option `:token`, or `:error`. A source stays as it is."
  @spec source(term) :: {:ok, source | nil} | :error
  def source(nil), do: {:ok, nil}

  def source(token) when is_binary(token) do
    if byte_size(token) in 1..@bytes_max, do: {:ok, fn -> {:ok, token} end}, else: :error
  end

  def source({:file, path}) when is_binary(path), do: {:ok, fn -> from_file(path) end}

  def source(fun) when is_function(fun, 0), do: {:ok, fn -> from_function(fun) end}
  def source(_other), do: :error

  # An editor ends a file with a line feed.
  defp from_file(path) do
    case File.read(path) do
      {:ok, text} -> {:ok, String.trim_trailing(text)}
      {:error, reason} -> {:error, "#{path}: #{:file.format_error(reason)}"}
    end
  end

  # A source that was wrapped twice, by child_spec/1 and by start_link/1.
  defp from_function(fun) do
    case fun.() do
      {:ok, token} when is_binary(token) -> {:ok, token}
      {:error, text} when is_binary(text) -> {:error, text}
      token when is_binary(token) -> {:ok, token}
      _other -> {:error, "the function of the option :token returned no string"}
    end
  rescue
    # The message of the exception may hold the token.
    error ->
      {:error, "the function of the option :token raised #{inspect(error.__struct__)}"}
  catch
    kind, _reason -> {:error, "the function of the option :token ended with #{kind}"}
  end

  @doc "Reads the token. Without a source, it is nil."
  @spec read(source | nil) :: {:ok, binary | nil} | {:error, ConnectionError.t()}
  def read(nil), do: {:ok, nil}

  def read(source) do
    case source.() do
      {:ok, token} when byte_size(token) in 1..@bytes_max -> {:ok, token}
      {:ok, token} -> {:error, error("it has #{byte_size(token)} bytes, not 1 to #{@bytes_max}")}
      {:error, text} -> {:error, error(text)}
    end
  end

  defp error(detail), do: %ConnectionError{reason: :no_token, detail: detail}
end
