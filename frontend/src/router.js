import { createRouter, createWebHistory } from 'vue-router';

/** @type {import('vue-router').RouteRecordRaw[]} */
const routes = [
  {
    path: '/',
    name: 'devices',
    component: () => import('./screens/DevicesScreen.vue'),
    meta: { title: 'Devices' },
  },
  {
    path: '/playground',
    name: 'playground',
    component: () => import('./screens/PlaygroundScreen.vue'),
    meta: { title: 'Playground', hasConnectionButton: true },
  },
  {
    path: '/connection',
    name: 'connection',
    component: () => import('./screens/ConnectionScreen.vue'),
    meta: { title: 'Connection', hasConnectionButton: true },
  },
  {
    path: '/admin',
    component: () => import('./screens/admin/AdminLayout.vue'),
    redirect: { name: 'admin-users' },
    children: [
      {
        path: 'users',
        name: 'admin-users',
        component: () => import('./screens/admin/UsersScreen.vue'),
        meta: { title: 'Users' },
      },
      {
        path: 'connections',
        name: 'admin-connections',
        component: () => import('./screens/admin/ConnectionsScreen.vue'),
        meta: { title: 'Connections' },
      },
      {
        path: 'limits',
        name: 'admin-limits',
        component: () => import('./screens/admin/LimitsScreen.vue'),
        meta: { title: 'Limits' },
      },
    ],
  },
  {
    path: '/sign-in',
    name: 'sign-in',
    component: () => import('./screens/SignInScreen.vue'),
    meta: { title: 'Sign in', open: true },
  },
  {
    path: '/:path(.*)*',
    name: 'not-found',
    component: () => import('./screens/NotFoundScreen.vue'),
    meta: { title: 'Not found', open: true },
  },
];

/**
 * Returns the page to go to after sign-in, which is one of ours whatever the address bar says.
 * @param {unknown} wanted
 * @returns {string}
 */
export function safeTarget(wanted) {
  return typeof wanted === 'string' && /^\/(?![/\\])/.test(wanted) ? wanted : '/';
}

/**
 * Returns where a navigation goes instead; undefined lets it pass.
 * @param {import('vue-router').RouteLocationNormalized} to
 * @param {{ signedIn: boolean }} auth
 */
function redirected(to, auth) {
  if (to.name === 'sign-in') return auth.signedIn ? safeTarget(to.query.to) : undefined;
  if (!to.meta.open && !auth.signedIn) {
    return { name: 'sign-in', query: to.fullPath === '/' ? {} : { to: to.fullPath } };
  }
  return undefined;
}

/**
 * Fetches the code of the other screens while there is time: they open at once, and also while the
 * server cannot be reached.
 * @param {import('vue-router').Router} router
 * @param {boolean} isAdmin
 */
export async function fetchScreens(router, isAdmin) {
  for (const { path, components } of router.getRoutes()) {
    if (!isAdmin && path.startsWith('/admin')) continue;
    const load = components?.default;
    // A visit fetches again what failed here, and reports a failure.
    if (typeof load === 'function')
      await /** @type {() => Promise<unknown>} */ (load)().catch(() => {});
  }
}

/**
 * The router, whose first navigation waits until it is known who is signed in.
 * @param {ReturnType<typeof import('./store/auth.js').useAuth>} auth
 * @param {import('vue-router').RouterHistory} [history]
 */
export function createAppRouter(auth, history = createWebHistory()) {
  const router = createRouter({
    history,
    routes,
    scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
  });
  router.beforeEach(async (to) => {
    await auth.known();
    return redirected(to, auth);
  });
  router.afterEach((to) => {
    document.title = to.meta.title ? `${to.meta.title} · Switchboard` : 'Switchboard';
  });
  return router;
}
