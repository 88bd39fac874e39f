"""The names of PyTorch that are not here, and what to use instead.

A group is the places (see `_public`, or a module), the names, and how the sentence goes on after
"tinygrad_cv has no compile: ". Whoever asks for such a name, with a dot or by an import, gets that
sentence; `hasattr` is False. `python -m tests.absent` says what the table lacks and what it has too
much, beside PyTorch.
"""

import dis
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tinygrad_cv._public import FUNCTIONAL, LINALG, METHOD, NN, OPTIM, TOP

ACCELERATOR = "tinygrad_cv.accelerator"
AUTOGRAD = "tinygrad_cv.autograd"
BACKENDS = "tinygrad_cv.backends"
CUDA = "tinygrad_cv.cuda"
CUDA_AMP = "tinygrad_cv.cuda.amp"
CUDA_BACKEND = "tinygrad_cv.backends.cuda"
CUDNN = "tinygrad_cv.backends.cudnn"
DATA = "tinygrad_cv.data"
DISTRIBUTED = "tinygrad_cv.distributed"
DISTRIBUTIONS = "tinygrad_cv.distributions"
HUB = "tinygrad_cv.hub"
JIT = "tinygrad_cv.jit"
MULTIPROCESSING = "tinygrad_cv.multiprocessing"
NN_ATTENTION = "tinygrad_cv.nn.attention"
NN_PARALLEL = "tinygrad_cv.nn.parallel"
NN_UTILS = "tinygrad_cv.nn.utils"
ONNX = "tinygrad_cv.onnx"
CHECKPOINT = "tinygrad_cv.utils.checkpoint"
FUNC = "tinygrad_cv.func"
TESTING = "tinygrad_cv.testing"
UTILS = "tinygrad_cv.utils"
UTILS_DATA = "tinygrad_cv.utils.data"

GROUPS: list[tuple[tuple[str, ...], str, str]] = [
    # ----- programs as data ----------------------------------------------------------------------
    (
        (TOP,),
        "compiler fx export library cond while_loop package",
        "a program runs as it is written, so leave the call or the decorator out.",
    ),
    (
        (TOP,),
        "ScriptModule ScriptFunction ScriptObject ScriptDict ScriptList SymBool SymFloat SymInt "
        "sym_constrain_range sym_constrain_range_for_size sym_float sym_fresh_size sym_int "
        "sym_ite sym_max sym_min sym_not sym_sqrt sym_sum",
        "nothing is traced or compiled; a program runs as it is written.",
    ),
    (
        (JIT,),
        "trace trace_module save load freeze optimize_for_inference CompilationUnit TracedModule "
        "TopLevelTracedModule TracerWarning TracingCheckError ScriptFunction ScriptWarning "
        "RecursiveScriptClass RecursiveScriptModule ONNXTracedModule Attribute Error annotations "
        "enable_onednn_fusion onednn_fusion_enabled export_opnames frontend fuser isinstance "
        "jit_module_from_flatbuffer save_jit_module_to_flatbuffer last_executed_optimized_graph "
        "optimized_execution run_frozen_optimizations set_fusion_strategy strict_fusion "
        "set_module",
        "a module runs as it is; save its state_dict, and build it again to load that.",
    ),
    (
        (JIT,),
        "fork wait Future",
        "call the function; ops use several threads by themselves (set_num_threads).",
    ),
    (
        (ONNX,),
        "dynamo_export ExportableModule InputObserver OnnxExporterError ONNXProgram "
        "OperatorExportTypes TrainingMode errors ops symbolic_helper symbolic_opset11 utils "
        "register_custom_op_symbolic",
        "onnx.export_model (and export) writes any model as a file, and import_model reads one.",
    ),
    # ----- one machine ---------------------------------------------------------------------------
    (
        (TOP,),
        "futures fork wait Future",
        "ops use several threads by themselves (set_num_threads); Python's multiprocessing and "
        "concurrent.futures do the rest.",
    ),
    (
        (MULTIPROCESSING,),
        "spawn start_processes SpawnContext ProcessContext ProcessExitedException "
        "ProcessRaisedException reductions init_reductions",
        "training runs in one process; Process and Pool start others.",
    ),
    (
        (DISTRIBUTED,),
        "get_global_rank get_group_rank get_pg_count get_process_group_ranks new_group "
        "new_subgroups new_subgroups_by_enumeration shrink_group split_group GroupMember "
        "GroupName DeviceMesh device_mesh init_device_mesh",
        "there is one group, of all ranks; make others with mpi4py: MPI.COMM_WORLD.Split().",
    ),
    (
        (DISTRIBUTED,),
        "all_gather_coalesced all_gather_single all_reduce_coalesced all_to_all all_to_all_single "
        "monitored_barrier batch_isend_irecv P2POp gather_object gather_into_tensor gather_single "
        "reduce_scatter reduce_scatter_single scatter_object_list send_object_list "
        "recv_object_list",
        "use all_reduce, all_gather, reduce_scatter_tensor, all_gather_object and their kin.",
    ),
    (
        (DISTRIBUTED,),
        "rpc optim fsdp elastic algorithms autograd nn pipelining tensor checkpoint launch run "
        "utils config constants c10d_logger distributed_c10d",
        "every rank has the whole model; train it with nn.parallel.DistributedDataParallel.",
    ),
    (
        (DISTRIBUTED,),
        "get_backend_config get_backend_impl get_default_backend_for_device get_node_local_rank "
        "ProcessGroupGloo ProcessGroupNCCL is_xccl_available reduce_op AllToAllOptions "
        "AllreduceCoalescedOptions AllreduceOptions BarrierOptions BroadcastOptions GatherOptions "
        "ReduceOptions ReduceScatterOptions ScatterOptions Backend BackendConfig "
        "BuiltinCommHookType DebugLevel DistBackendError DistError DistNetworkError "
        "DistStoreError QueueEmptyError FileStore HashStore PrefixStore Store TCPStore GradBucket "
        "Logger Reducer RankType default_pg_timeout get_debug_level set_debug_level "
        "set_debug_level_from_env set_timeout logging_handlers record_comm "
        "register_rendezvous_handler rendezvous remote_device supports_complex breakpoint",
        "mpiexec starts the ranks and MPI or NCCL carries what they say; leave it out.",
    ),
    (
        (NN_PARALLEL,),
        "parallel_apply replicate gather scatter scatter_gather comm",
        "a process computes on one device; call the module, or start several (distributed).",
    ),
    # ----- kinds of tensors ----------------------------------------------------------------------
    (
        (TOP, METHOD),
        "sparse sparse_bsc sparse_bsc_tensor sparse_bsr sparse_bsr_tensor sparse_compressed_tensor "
        "sparse_coo sparse_coo_tensor sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor "
        "dsmm hsmm hspmm saddmm smm spmm sspaddmm jagged nested masked to_sparse to_sparse_bsc "
        "to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr to_mkldnn to_padded_tensor "
        "coalesce is_coalesced ccol_indices col_indices crow_indices row_indices indices values "
        "dense_dim sparse_dim sparse_mask sparse_resize_ sparse_resize_and_clear_ is_sparse_csr "
        "resize_as_sparse_",
        "every tensor is dense; use where, masked_select or an index tensor.",
    ),
    (
        (TOP,),
        "_foreach_abs _foreach_add _foreach_add_ _foreach_addcdiv _foreach_addcdiv_ "
        "_foreach_addcmul _foreach_addcmul_ _foreach_clamp_max_ _foreach_clamp_min_ _foreach_copy_ "
        "_foreach_div _foreach_div_ _foreach_lerp _foreach_lerp_ _foreach_max _foreach_maximum_ "
        "_foreach_mul _foreach_mul_ _foreach_neg _foreach_neg_ _foreach_norm _foreach_pow "
        "_foreach_sign _foreach_sign_ _foreach_sqrt _foreach_sqrt_ _foreach_sub _foreach_sub_ "
        "_foreach_zero_",
        "write a loop over the tensors.",
    ),
    (
        (OPTIM,),
        "SparseAdam",
        "gradients are dense; use Adam.",
    ),
    (
        (TOP, METHOD),
        "ao quantization quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic "
        "quantized_batch_norm quantized_gru quantized_gru_cell quantized_lstm quantized_lstm_cell "
        "quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d quantized_rnn_relu_cell "
        "quantized_rnn_tanh_cell empty_quantized fake_quantize_per_channel_affine "
        "fake_quantize_per_tensor_affine choose_qparams_optimized fused_moving_avg_obs_fake_quant "
        "dequantize int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points "
        "q_scale q_zero_point qscheme qint32 qint8 quint2x4 quint4x2 quint8 per_channel_affine "
        "per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine "
        "per_tensor_symmetric QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage "
        "QUInt8Storage",
        "nothing is quantized; float16 is the smallest float.",
    ),
    (
        (NN,),
        "qat quantizable quantized intrinsic",
        "nothing is quantized; float16 is the smallest float.",
    ),
    (
        (TOP, METHOD),
        "complex polar imag view_as_real view_as_complex view_as_complex_copy view_as_real_copy "
        "bcomplex32 cdouble cfloat chalf complex32 complex64 complex128 ComplexDoubleStorage "
        "ComplexFloatStorage",
        "numbers are real: keep the real and the imaginary part in two tensors.",
    ),
    (
        (TOP, METHOD),
        "fft stft istft",
        "there is no Fourier transform: use numpy.fft on x.numpy(), outside of the graph, or "
        "conv1d with a window of sines and cosines.",
    ),
    (
        (TOP, METHOD),
        "bfloat16 BFloat16Tensor BFloat16Storage",
        "NumPy has no bfloat16: use float16, which is computed in float32, or float32.",
    ),
    (
        (CUDA,),
        "BFloat16Tensor BFloat16Storage",
        "NumPy has no bfloat16: use float16, which is computed in float32, or float32.",
    ),
    (
        (TOP,),
        "float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu",
        "float16 is the smallest float.",
    ),
    (
        (TOP,),
        "uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 int4 int5 int6 int7 bit bits16 "
        "bits1x8 bits2x4 bits4x2 bits8",
        "the smallest dtypes are bool, int8 and uint8.",
    ),
    (
        (TOP,),
        "uint16 uint32 uint64",
        "of integers without a sign there is uint8 alone: use int32 or int64.",
    ),
    # ----- memory --------------------------------------------------------------------------------
    (
        (TOP, METHOD),
        "BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage HalfStorage IntStorage "
        "LongStorage ShortStorage Storage StorageBase TypedStorage UntypedStorage is_storage "
        "untyped_storage storage_offset storage_type is_set_to const_data_ptr from_file",
        "a tensor's memory is not handed out, as graphs rely on it: x.numpy() reads the values, "
        "and x.data[...] = values changes them.",
    ),
    (
        (METHOD,),
        "storage",
        "a tensor's memory is not handed out, as graphs rely on it: x.numpy() reads the values, "
        "and x.data[...] = values changes them.",
    ),
    (
        (CUDA,),
        "BoolStorage ByteStorage CharStorage DoubleStorage FloatStorage HalfStorage IntStorage "
        "LongStorage ShortStorage ComplexDoubleStorage ComplexFloatStorage",
        "a tensor's memory is not handed out; x.numpy() copies the values from a GPU.",
    ),
    (
        (TOP, METHOD),
        "as_strided as_strided_ as_strided_copy as_strided_scatter empty_permuted empty_strided "
        "new_empty_strided dim_order",
        "strides are NumPy's affair: use unfold, permute, diagonal or an index.",
    ),
    (
        (TOP, METHOD),
        "resize resize_as",
        "a size changes with reshape, and F.pad or narrow make room and cut.",
    ),
    (
        (TOP,),
        "alias_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy select_copy "
        "slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy "
        "unbind_copy unfold_copy unsqueeze_copy values_copy view_copy ccol_indices_copy "
        "col_indices_copy crow_indices_copy indices_copy row_indices_copy slice_inverse",
        "use the function without _copy, and .clone().",
    ),
    (
        (METHOD,),
        "narrow_copy slice_inverse",
        "use narrow(...).clone().",
    ),
    (
        (TOP, METHOD),
        "unsafe_chunk unsafe_split unsafe_split_with_sizes",
        "use chunk and split.",
    ),
    (
        (TOP,),
        "frombuffer",
        "use from_numpy(numpy.frombuffer(buffer, dtype)).",
    ),
    (
        (TOP,),
        "to_dlpack",
        "a tensor has __dlpack__: give it to the other library's from_dlpack.",
    ),
    (
        (METHOD,),
        "record_stream",
        "the pool of CuPy keeps memory until its stream is done with it; leave the call out.",
    ),
    (
        (METHOD,),
        "as_subclass module_load",
        "methods give a Tensor; wrap it yourself.",
    ),
    # ----- devices -------------------------------------------------------------------------------
    (
        (TOP, METHOD),
        "xpu mtia ipu is_ipu is_maia is_mtia is_vulkan is_xla is_vulkan_available "
        "get_device_module",
        'the devices are "cpu" and "cuda"; ask cuda.is_available().',
    ),
    (
        (TOP,),
        "cpu",
        "there is nothing to ask of the CPU; set_num_threads chooses its threads.",
    ),
    (
        (TOP, CUDA),
        "Stream Event",
        "ops of a GPU run one after the other; cuda.synchronize() waits for them, and "
        "time.perf_counter() takes the time.",
    ),
    (
        (ACCELERATOR,),
        "current_stream set_stream Graph",
        "ops of a GPU run one after the other; accelerator.synchronize() waits for them.",
    ),
    (
        (ACCELERATOR,),
        "memory_stats reset_accumulated_memory_stats empty_host_cache get_device_capability",
        "memory_allocated(), memory_reserved() and get_memory_info() count.",
    ),
    (
        (CUDA,),
        "comm",
        "one GPU computes all of it; x.to(device) copies from one to another.",
    ),
    (
        (CUDA_AMP,),
        "common amp_definitely_not_available",
        "it is an inner part of PyTorch; ask cuda.is_available().",
    ),
    (
        (CUDA_BACKEND,),
        "SDPAParams SDPBackend can_use_cudnn_attention can_use_efficient_attention "
        "can_use_flash_attention is_ck_sdpa_available is_flash_attention_available "
        "allow_fp16_bf16_reduction_math_sdp fp16_bf16_reduction_math_sdp_allowed "
        "preferred_rocm_fa_library",
        "scaled_dot_product_attention is computed in one way; see nn.attention.",
    ),
    (
        (CUDA_BACKEND,),
        "blas_workspace_size cublas_workspace_size cublaslt_workspace_size cufft_plan_cache "
        "cuBLASModule cuFFTPlanCache cuFFTPlanCacheAttrContextProp cuFFTPlanCacheManager "
        "preferred_blas_library preferred_linalg_library",
        "CuPy chooses the library.",
    ),
    (
        (NN_ATTENTION,),
        "flex_attention bias varlen SDPAParams can_use_efficient_attention can_use_flash_attention "
        "WARN_FOR_UNFUSED_KERNELS register_flash_attention_impl activate_flash_attention_impl "
        "list_flash_attention_impls current_flash_attention_impl restore_flash_attention_impl",
        "scaled_dot_product_attention is computed in one way, and takes a mask.",
    ),
    (
        (CUDA,),
        "ExternalStream StreamContext current_stream default_stream set_stream stream streams "
        "get_stream_from_external",
        "ops of a GPU run one after the other; cuda.synchronize() waits for them.",
    ),
    (
        (CUDA,),
        "CUDAGraph graph graphs graph_pool_handle make_graphed_callables "
        "is_current_stream_capturing green_contexts GreenContext jiterator tunable nccl gds "
        "export_dot export_graph_data graph_annotations "
        "DEVICE_REQUIREMENT_POST_JETSON_SBSA_UNIFICATION",
        "CuPy launches the kernels one by one; leave it out.",
    ),
    (
        (CUDA,),
        "CUDAPluggableAllocator MemPool MemPoolContext caching_allocator_alloc "
        "caching_allocator_delete caching_allocator_disabled caching_allocator_enable "
        "change_current_allocator get_allocator_backend get_per_process_memory_fraction memory "
        "memory_snapshot memory_stats memory_stats_as_nested_dict memory_summary memory_usage "
        "host_memory_stats host_memory_stats_as_nested_dict list_gpu_processes "
        "reset_accumulated_host_memory_stats reset_accumulated_memory_stats "
        "reset_peak_host_memory_stats set_per_process_memory_fraction use_mem_pool "
        "device_memory_used",
        "memory_allocated(), memory_reserved() and mem_get_info() count, and cupy's own pool can "
        "be told more.",
    ),
    (
        (CUDA,),
        "clock_rate power_draw temperature utilization nvtx profiler get_arch_list "
        "get_gencode_flags cudart current_blas_handle current_solver_handle "
        "can_device_access_peer set_sync_debug_mode get_sync_debug_mode device_of "
        "default_generators has_half has_magma ipc_collect is_tf32_supported sparse "
        "DeferredCudaCallError CudaError AcceleratorError check_error cudaStatus",
        "ask CuPy (cupy.cuda) or nvidia-smi; testing.no_sync() finds what waits for a GPU.",
    ),
    (
        (TOP,),
        "AcceleratorError",
        "errors of a GPU are CuPy's.",
    ),
    (
        (BACKENDS,),
        "cpu cusparselt kleidiai mha miopen nnpack opt_einsum python_native quantized xeon xnnpack",
        "what is here computes with NumPy, SciPy and CuPy, and has no such switches.",
    ),
    (
        (CUDNN,),
        "conv rnn is_acceptable set_flags fp32_precision",
        "nothing here is built with cuDNN; enabled, benchmark and deterministic can be set.",
    ),
    # ----- functions -----------------------------------------------------------------------------
    (
        (TOP, METHOD),
        "eig",
        "use linalg.eig.",
    ),
    (
        (TOP, METHOD),
        "symeig lobpcg",
        "use linalg.eigh.",
    ),
    (
        (TOP, METHOD),
        "solve lstsq",
        "use linalg.solve and linalg.lstsq, whose arguments stand the other way round.",
    ),
    (
        (TOP, METHOD),
        "qr",
        "use linalg.qr.",
    ),
    (
        (TOP,),
        "svd_lowrank pca_lowrank",
        "use linalg.svd.",
    ),
    (
        (TOP, METHOD),
        "triangular_solve",
        "use linalg.solve_triangular, whose arguments stand the other way round.",
    ),
    (
        (TOP,),
        "matrix_rank",
        "use linalg.matrix_rank.",
    ),
    (
        (TOP,),
        "frobenius_norm norm_except_dim native_norm",
        "use linalg.vector_norm and linalg.matrix_norm.",
    ),
    (
        (TOP, METHOD),
        "lu lu_solve lu_unpack geqrf orgqr ormqr",
        "use linalg.solve, linalg.inv or linalg.qr.",
    ),
    (
        (LINALG,),
        "lu lu_factor lu_factor_ex lu_solve ldl_factor ldl_factor_ex ldl_solve householder_product",
        "use solve, inv or qr.",
    ),
    (
        (LINALG,),
        "polar matrix_sqrth",
        "use svd, x = U S Vᴴ = (U Vᴴ)(V S Vᴴ), and eigh, whose values have roots.",
    ),
    (
        (LINALG,),
        "cholesky_ex inv_ex solve_ex LinAlgError",
        "use cholesky, inv and solve, which raise an error for a matrix that has no such result.",
    ),
    (
        (TOP, METHOD),
        "i0 i0_ igamma igamma_ igammac igammac_",
        "use scipy.special on x.numpy(), outside of the graph, or an op of your own.",
    ),
    (
        (TOP,),
        "special",
        "its functions stand at the top: tinygrad_cv.erf, lgamma, digamma, expit as sigmoid.",
    ),
    (
        (TOP,),
        "range",
        "use arange, which leaves the end out.",
    ),
    (
        (TOP,),
        "segment_reduce",
        "use scatter_reduce or index_add.",
    ),
    (
        (TOP, METHOD),
        "nonzero_static",
        "use nonzero.",
    ),
    (
        (TOP,),
        "histogramdd",
        "use histc, or numpy.histogramdd on x.numpy().",
    ),
    (
        (TOP, METHOD),
        "hash_tensor",
        "use hash(x.tobytes()).",
    ),
    (
        (TOP, METHOD),
        "map2_ reinforce volatile grad_dtype",
        "write it with the functions of tinygrad_cv; no_grad() ends recording.",
    ),
    (
        (TOP,),
        "gru lstm rnn_relu rnn_tanh ",
        "use nn.GRU, nn.LSTM and nn.RNN and their cells.",
    ),
    (
        (TOP, FUNCTIONAL),
        "conv_tbc",
        "use conv1d, with the axes permuted.",
    ),
    (
        (TOP,),
        "convolution grid_sampler grid_sampler_2d grid_sampler_3d affine_grid_generator "
        "constant_pad_nd native_batch_norm native_dropout "
        "native_group_norm native_layer_norm embedding_renorm_ batch_norm_backward_elemt "
        "batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats "
        "batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats "
        "max_pool1d_with_indices feature_dropout feature_dropout_",
        "it is an inner part of PyTorch; use the function of nn.functional.",
    ),
    (
        (FUNCTIONAL,),
        "assert_int_or_pair boolean_dispatch handle_torch_function "
        "has_torch_function has_torch_function_unary has_torch_function_variadic "
        "BroadcastingList1 BroadcastingList2 BroadcastingList3 GRID_SAMPLE_INTERPOLATION_MODES "
        "GRID_SAMPLE_PADDING_MODES reproducibility_notes sparse_support_notes tf32_notes",
        "it is an inner part of PyTorch.",
    ),
    (
        (FUNCTIONAL,),
        "grouped_mm scaled_grouped_mm scaled_mm ScalingType SwizzleType",
        "use matmul; nothing is scaled to 8 bits.",
    ),
    (
        (TOP,),
        "quasirandom",
        "use scipy.stats.qmc and from_numpy.",
    ),
    (
        (TOP, METHOD),
        "nextafter nextafter_ frexp histogram",
        "use numpy's function of this name on x.numpy(): it has no gradient.",
    ),
    (
        (TOP,),
        "alpha_dropout_ dropout_ feature_alpha_dropout_",
        "use the function of nn.functional, with inplace=True.",
    ),
    (
        (TOP,),
        "is_conj is_neg is_inference is_distributed",
        "use the method of the tensor; it gives False.",
    ),
    (
        (TOP,),
        "embedding_bag",
        "use nn.functional.embedding_bag.",
    ),
    (
        (NN,),
        "Container",
        "use Module.",
    ),
    (
        (NN, FUNCTIONAL),
        "grad",
        "use autograd.grad, which gives the gradients of convolutions too.",
    ),
    # ----- names around --------------------------------------------------------------------------
    (
        (HUB,),
        "load list help",
        "it runs a program from the web: clone the repository, change its imports, and import it.",
    ),
    (
        (TOP,),
        "_C _VF _dynamo _inductor _jit_internal _prims_common _utils _weight_norm",
        "it is an inner part of PyTorch; use what its documentation names.",
    ),
    (
        (UTILS,),
        "_pytree _python_dispatch",
        "it is an inner part of PyTorch; use what its documentation names.",
    ),
    (
        (OPTIM,),
        "_functional _multi_tensor",
        "it is an inner part of PyTorch; the optimizers themselves step over all tensors at once.",
    ),
    (
        (TOP,),
        "_six",
        "use str, int, math.inf and collections.abc, which Python has.",
    ),
    (
        (TOP,),
        "types",
        "annotate with Tensor, device, dtype and Size.",
    ),
    (
        (TESTING,),
        "assert_close assert_allclose",
        "use numpy.testing.assert_allclose on x.numpy(), or allclose.",
    ),
    (
        (TESTING,),
        "make_tensor FileCheck _internal",
        "use rand and randint; testing.strategies makes inputs with hypothesis.",
    ),
    (
        (TOP,),
        "serialization",
        "use save and load.",
    ),
    (
        (TOP,),
        "functional",
        "its functions stand at the top, as tinygrad_cv.einsum.",
    ),
    (
        (TOP,),
        "monitor",
        "log what you measure yourself.",
    ),
    (
        (TOP, AUTOGRAD),
        "profiler profiler_legacy profiler_util kineto_available ProfilerActivity ProfilerConfig "
        "ProfilerEvent ProfilerState DeviceType",
        "use cProfile; tinygrad_cv.viz.summary counts the work of each layer.",
    ),
    (
        (AUTOGRAD,),
        "enforce_grad_layout_policy forward_ad is_multithreading_enabled is_tensor_like "
        "is_view_replay_enabled set_multithreading_enabled SavedTensor NestedIOFunction",
        "a backward pass runs in one way; tinygrad_cv.jvp is the forward derivative.",
    ),
    (
        (AUTOGRAD,),
        "graph",
        "recompute() saves memory, and register_hook sees gradients; saved values stay inside.",
    ),
    (
        (FUNC,),
        "functionalize replace_all_batch_norm_modules_ debug_unwrap",
        "leave it out: a program in place is recorded as it is, and batch norm takes "
        "track_running_stats=False.",
    ),
    (
        (DISTRIBUTIONS,),
        "Binomial Cauchy Chi2 ContinuousBernoulli ExponentialFamily FisherSnedecor "
        "GeneralizedPareto Geometric Gumbel HalfCauchy HalfNormal InverseGamma Kumaraswamy "
        "LKJCholesky LogNormal LogisticNormal LowRankMultivariateNormal MixtureSameFamily "
        "Multinomial NegativeBinomial OneHotCategoricalStraightThrough Pareto RelaxedBernoulli "
        "RelaxedOneHotCategorical StudentT Poisson VonMises Weibull Wishart binomial cauchy chi2 "
        "geometric gumbel log_normal mixture_same_family multinomial poisson relaxed_bernoulli "
        "relaxed_categorical studentT von_mises weibull",
        "scipy.stats knows it, outside of the graph; Normal, Uniform, Categorical and others are "
        "here.",
    ),
    (
        (DISTRIBUTIONS,),
        "TransformedDistribution biject_to transform_to AbsTransform AffineTransform CatTransform "
        "ComposeTransform CorrCholeskyTransform CumulativeDistributionTransform ExpTransform "
        "IndependentTransform LowerCholeskyTransform PositiveDefiniteTransform PowerTransform "
        "ReshapeTransform SigmoidTransform SoftplusTransform TanhTransform SoftmaxTransform "
        "StackTransform StickBreakingTransform Transform identity_transform transforms "
        "transformed_distribution",
        "apply the function to what rsample() draws, and add the logarithm of its derivative.",
    ),
    (
        (NN_UTILS,),
        "prune",
        "multiply the weight by a mask of 0 and 1, as a parametrization "
        "(nn.utils.parametrize.register_parametrization).",
    ),
    (
        (DISTRIBUTIONS,),
        "utils",
        "it is an inner part of PyTorch: broadcast_tensors, log and sigmoid do what it does.",
    ),
    (
        (CHECKPOINT,),
        "CheckpointError CheckpointPolicy SelectiveCheckpointContext "
        "create_selective_checkpoint_contexts noop_context_fn set_checkpoint_debug_enabled "
        "set_checkpoint_early_stop",
        "checkpoint computes all of its function again, and has no policy.",
    ),
    (
        (CHECKPOINT,),
        "CheckpointFunction GraphExecGroup SAC_IGNORED_OPS check_backward_validity "
        "detach_variable get_device_states set_device_states",
        "it is an inner part of PyTorch; checkpoint draws the same random numbers again by itself.",
    ),
    (
        (TOP,),
        "overrides",
        "a class that has __array__ is taken where an array is.",
    ),
    (
        (TOP,),
        "get_deterministic_debug_mode set_deterministic_debug_mode set_warn_always "
        "is_warn_always_enabled",
        "the same program gives the same numbers; use_deterministic_algorithms is accepted.",
    ),
    (
        (TOP,),
        "__config__ return_types torch_version has_lapack has_mkl has_openmp has_spectral "
        "compiled_with_cxx11_abi get_file_path ThroughputBenchmark thread_safe_generator "
        "prepare_multiprocessing_environment",
        "it says how PyTorch was built; tinygrad_cv.__version__ is the version of this.",
    ),
    (
        (UTILS,),
        "tensorboard",
        "viz.watch writes a page of the training, and the package tensorboardX the same files.",
    ),
    (
        (UTILS,),
        "benchmark bottleneck ThroughputBenchmark throughput_benchmark",
        "use timeit and cProfile.",
    ),
    (
        (UTILS,),
        "dlpack",
        "use from_dlpack, and a tensor's __dlpack__.",
    ),
    (
        (UTILS,),
        "cpp_extension mobile_optimizer hipify jit viz collect_env flop_counter backcompat "
        "backend_registration cmake_prefix_path cpp_backtrace deterministic file_baton "
        "generate_methods_for_privateuse1_backend get_cpp_backtrace hooks "
        "rename_privateuse1_backend serialization set_module swap_tensors weak",
        "it is a tool of PyTorch itself; an op of your own is ten lines of Python (see Op).",
    ),
    (
        (DATA, UTILS_DATA),
        "IterDataPipe MapDataPipe DFIterDataPipe DataChunk datapipes functional_datapipe graph "
        "graph_settings guaranteed_datapipes_determinism non_deterministic argument_validation "
        "runtime_validation runtime_validation_disabled",
        "write a Dataset, or an IterableDataset.",
    ),
    (
        (FUNCTIONAL,),
        "linear_cross_entropy",
        "use linear and cross_entropy.",
    ),
    (
        (OPTIM,),
        "swap_in_optimizer_params_and_state",
        "use load_state_dict.",
    ),
]

ABSENT: dict[str, dict[str, str]] = {}
"""For each place the names that are not there, each with its words."""
for _places, _names, _words in GROUPS:
    for _place in _places:
        ABSENT.setdefault(_place, {}).update(dict.fromkeys(_names.split(), _words))


def sentence(place: str, name: str) -> str:
    """What is said to whoever asks for a name that is not there."""
    words = ABSENT.get(place, {}).get(name)
    if words is None:
        return f"module {place!r} has no attribute {name!r}"
    return f"{place} has no {name}: {words}"


def told(place: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module: what it has later on, and the sentences for the rest.

    Within `from place import name` the sentence is an ImportError, as Python would put words of its
    own in the place of an AttributeError.
    """
    module = sys.modules[place]
    before = vars(module).get("__getattr__")
    vars(module).setdefault("__path__", [])  # so that modules below it are asked for, see _Finder

    def __getattr__(name: str) -> Any:  # noqa: N807
        known = name in ABSENT[place]
        if not known and before is not None:
            return before(name)
        frame = sys._getframe(1)
        if known and dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM":
            raise ImportError(sentence(place, name), name=place)
        raise AttributeError(sentence(place, name), name=name, obj=module)

    return __getattr__


class _Finder:
    """The last to be asked for a module: says the sentence to `import tinygrad_cv.jit`."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:
        place, _, name = fullname.rpartition(".")
        if name in ABSENT.get(place, ()):
            raise ModuleNotFoundError(sentence(place, name), name=fullname)


def tell(tensor: type) -> None:
    """Let the modules that are there, the class of tensors and the import system say it.

    A module that is imported later on says it by itself: `__getattr__ = told(__name__)`.
    """
    for place in ABSENT.keys() & sys.modules.keys():
        setattr(sys.modules[place], "__getattr__", told(place))  # noqa: B010
    sys.meta_path.append(_Finder)
    # A `__getattr__` of the class would make every read of an attribute slower, also of those that
    # are there.
    for name in ABSENT[METHOD]:
        if not hasattr(tensor, name):
            setattr(tensor, name, _Absent(name))
    setattr(tensor, "__dir__", _what_is_there)  # noqa: B010


class _Absent:
    """In the place of a method that is not there: the sentence, to whoever reads it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, tensor: Any, owner: Any) -> NoReturn:
        thing = owner if tensor is None else tensor
        raise AttributeError(sentence(METHOD, self.name), name=self.name, obj=thing)


def _what_is_there(tensor: Any) -> list[str]:
    """What `dir` lists."""
    return [name for name in object.__dir__(tensor) if name not in ABSENT[METHOD]]
